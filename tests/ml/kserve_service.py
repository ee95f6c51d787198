"""KServe with two models on 127.0.0.1: `otsu` answers with a mask of 0 and 255, `otsu-soft` with probabilities."""

import sys

import numpy as np
import uvicorn
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

import otsu


class Otsu(Model):
    """Takes [1, H, W, C] and answers with [1, H, W]."""

    def __init__(self, name: str, input_type: str, output_type: str):
        super().__init__(name)
        self.input_type, self.output_type = input_type, output_type
        self.ready = True

    def get_input_types(self) -> list:
        return [{"name": "image", "datatype": self.input_type, "shape": [-1, -1, -1, 3]}]

    def get_output_types(self) -> list:
        return [{"name": "mask", "datatype": self.output_type, "shape": [-1, -1, -1]}]

    def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        image = payload.inputs[0].as_numpy()[0, :, :, 0]
        if self.output_type == "UINT8":
            found = otsu.mask(image).astype(np.uint8) * 255
        else:
            found = otsu.probabilities(image)
        found = found[np.newaxis]
        output = InferOutput("mask", list(found.shape), self.output_type)
        output.set_data_from_numpy(found)
        # As the request wants it, binary or JSON.
        wanted = payload.request_outputs
        return InferResponse(payload.id or "", self.name, [output], requested_outputs=wanted)


def on_loopback(config):
    """KServe has no setting for the address that it listens on."""
    return lambda *given, **named: config(*given, **{**named, "host": "127.0.0.1"})


if __name__ == "__main__":
    uvicorn.Config = on_loopback(uvicorn.Config)
    models = [Otsu("otsu", "UINT8", "UINT8"), Otsu("otsu-soft", "FP32", "FP32")]
    ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, grace_period=1).start(models)
