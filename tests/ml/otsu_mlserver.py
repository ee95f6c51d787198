"""The model for MLServer; tests/ml/mlserver/model-settings.json names it."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

import otsu


class Otsu(MLModel):
    """Takes [H, W] in 8 bits, answers with labels."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        image = NumpyCodec.decode_input(payload.inputs[0])
        labels = otsu.labels(image).astype("uint16")
        output = NumpyCodec.encode_output("labels", labels)
        return InferenceResponse(model_name=self.name, outputs=[output])
