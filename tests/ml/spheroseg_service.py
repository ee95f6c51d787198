"""SpheroSeg's protocol with Otsu's threshold behind it, on 127.0.0.1, and every way in which such a service misbehaves.

The field `model` chooses the behaviour: `otsu` works, and each name in MISBEHAVIOURS does what it says. Any other name
behaves as `PUT /control/{model}?behaviour=…` told last, `otsu` at first, and `GET /control/{model}` tells what was asked of
it: that is how a test has a service that breaks and recovers for itself alone.
"""

import asyncio
import sys
import threading

import cv2
import numpy as np
import uvicorn
from fastapi import FastAPI, Form, HTTPException, Request, UploadFile
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse

import otsu

app = FastAPI()
told: dict[str, str] = {}
asked: dict[str, list] = {}
lock = threading.Lock()


def outlines(mask: np.ndarray, holes: bool) -> list:
    """Polygons through pixel centres, holes with their parents, as OpenCV gives them."""
    mode = cv2.RETR_CCOMP if holes else cv2.RETR_EXTERNAL
    contours, tree = cv2.findContours(mask.astype(np.uint8), mode, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for index, contour in enumerate(contours):
        parent = int(tree[0][index][3])
        polygon = {
            "id": f"polygon_{index + 1}",
            "points": [{"x": float(x), "y": float(y)} for x, y in contour[:, 0]],
            "type": "external" if parent < 0 else "internal",
            "class": "spheroid",
            "confidence": 0.9,
            "vertices_count": len(contour),
        }
        if parent >= 0:
            polygon["parent_id"] = f"polygon_{parent + 1}"
        found.append(polygon)
    return found


def answer(image: np.ndarray, model: str, threshold: float, holes: bool, core: bool = False) -> dict:
    mask = otsu.mask(image)
    polygons = outlines(mask, holes)
    if core:
        inner = cv2.erode(mask.astype(np.uint8), np.ones((9, 9), np.uint8))
        polygons += [{**polygon, "id": "core_" + polygon["id"], "partClass": "core"} for polygon in outlines(inner, False)]
    height, width = image.shape
    found = {
        "model_used": model,
        "threshold_used": threshold,
        "image_size": {"width": width, "height": height},
        "polygons": polygons,
        "processing_info": {"pixels": int(mask.sum())},
        "processing_time": 0.1,
        "inference_time": 0.1,
        "device": "cpu",
        "gpu_enabled": False,
        "batch_size_used": 1,
        "success": True,
    }
    if not polygons:
        found["warning"] = "No polygons detected - threshold may need adjustment"
    return found


def text(polygons: str, width: int = 256, height: int = 256) -> StreamingResponse:
    head = f'{{"image_size":{{"width":{width},"height":{height}}},"model_used":"x","polygons":'
    return StreamingResponse(iter([head, polygons, "}"]), media_type="application/json")


async def million():
    yield '{"polygons":['
    piece = '{"id":"p","type":"external","points":[{"x":1,"y":1},{"x":9,"y":1},{"x":9,"y":9}]},' * 1000
    for _ in range(1000):
        yield piece
    yield '{"points":[]}]}'


async def slow():
    while True:
        yield " "
        await asyncio.sleep(0.05)


async def cut():
    yield '{"polygons":[{"id":"polygon_1","points":['
    raise RuntimeError("closes in mid-body, as it is meant to")


async def hang():
    await asyncio.sleep(3600)


def bad(status: int, detail, headers=None):
    raise HTTPException(status, detail, headers)


POINTS = '[{"points":[{"x":%s,"y":1},{"x":9,"y":1},{"x":9,"y":9}]}]'

MISBEHAVIOURS = {
    "400": lambda: bad(400, "Invalid image file"),
    "413": lambda: bad(413, {"error": "image_too_large"}),
    "422": lambda: bad(422, [{"loc": ["body", "threshold"], "msg": "too high"}]),
    "429": lambda: bad(429, "busy", {"Retry-After": "2"}),
    "500": lambda: bad(500, {"error": "Inference failed"}),
    "503": lambda: bad(503, "Model loader not initialized"),
    "503-retry-after": lambda: bad(503, "loading", {"Retry-After": "7"}),
    "504": lambda: bad(504, {"error": "Model inference timeout", "suggestion": "reduce image size"}),
    "html": lambda: HTMLResponse("<html><body>It works!</body></html>"),
    "hang": hang,
    "slow": lambda: StreamingResponse(slow(), media_type="application/json"),
    "million": lambda: StreamingResponse(million(), media_type="application/json"),
    "cut": lambda: StreamingResponse(cut(), media_type="application/json", headers={"content-length": "9000"}),
    "nan": lambda: text(POINTS % "NaN"),
    "infinite": lambda: text(POINTS % "1e999"),
    "outside": lambda: text(POINTS % "-70"),
    "wrong-size": lambda: text("[]", width=512),
    "not-json": lambda: text("[{"),
}


async def misbehave(model: str):
    """What a misbehaving model answers with; nothing where it behaves."""
    with lock:
        behaviour = told.get(model, model)
    act = MISBEHAVIOURS.get(behaviour)
    if act is None:
        return None
    done = act()
    return await done if asyncio.iscoroutine(done) else done


def note(request: Request, model: str, files: list[str]) -> None:
    kept = ("x-request-id", "x-user-id", "x-operation", "authorization", "content-length")
    with lock:
        asked.setdefault(model, []).append(
            {"files": files, "headers": {name: request.headers.get(name) for name in kept}}
        )


async def decoded(file: UploadFile) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(await file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        bad(400, f"Invalid image file: {file.filename}")
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


@app.get("/api/v1/health")
def health() -> dict:
    return {"status": "healthy", "service": "cell-segmentation"}


@app.put("/control/{model}")
def control(model: str, behaviour: str) -> dict:
    with lock:
        told[model] = behaviour
    return {}


@app.get("/control/{model}")
def counted(model: str) -> list:
    with lock:
        return list(asked.get(model, []))


@app.post("/api/v1/segment")
async def segment(
    request: Request,
    file: UploadFile,
    model: str = Form("hrnet"),
    threshold: float = Form(0.5, ge=0.1, le=0.9),
    detect_holes: bool = Form(True),
):
    note(request, model, [file.filename])
    answered = await misbehave(model)
    if answered is not None:
        return answered
    if file.filename.rsplit(".", 1)[-1] not in ("jpg", "jpeg", "png", "tif", "tiff", "bmp"):
        bad(400, "Invalid image file. Supported formats: PNG, JPG, JPEG, TIFF, TIF, BMP")
    image = await decoded(file)
    core = model == "spheroid_disintegration"
    found = await asyncio.to_thread(answer, image, model, threshold, detect_holes, core)
    return JSONResponse(found)


@app.post("/api/v1/batch-segment")
async def batch_segment(
    request: Request,
    files: list[UploadFile],
    model: str = Form("hrnet"),
    threshold: float = Form(0.5, ge=0.1, le=0.9),
    detect_holes: bool = Form(True),
):
    note(request, model, [file.filename for file in files])
    answered = await misbehave(model)
    if answered is not None:
        return answered
    results = []
    for index, file in enumerate(files):
        head = {"filename": file.filename, "batch_index": index}
        try:
            image = await decoded(file)
        except HTTPException:
            results.append({**head, "success": False, "error": "Failed to load image", "polygons": []})
            continue
        found = await asyncio.to_thread(answer, image, model, threshold, detect_holes)
        results.append({**found, **head})
    done = sum(result["success"] for result in results)
    return {"success": True, "results": results, "successful_count": done, "failed_count": len(results) - done}


if __name__ == "__main__":
    # Hanging requests must not outlive the service by much.
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), timeout_graceful_shutdown=1, log_level="warning")
