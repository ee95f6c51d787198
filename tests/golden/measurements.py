#!/usr/bin/env python3
"""Writes measurements.json: masks, and what scikit-image and ImageJ's formulae give for them.

Needs numpy, scipy and scikit-image (made with 2.4.6, 1.17.1 and 0.26.0):

    python3 tests/golden/measurements.py

scikit-image's numbers come from scikit-image. ImageJ cannot be called from here, so its numbers come from plain
versions of its published algorithms (1.54: Wand.traceEdge in 8-connected mode, PolygonRoi.getTracedPerimeter,
Roi.getFeretValues), written for this file and sharing nothing with the program that is tested. The Disintegration
Index is the formula as it stands, with a sort.
"""

import json
import math
import pathlib

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull
from skimage import measure

FOUR_CONNECTED = 1


def disk(radius, off=0.0, side=None):
    side = side or 2 * int(radius) + 11
    middle = side // 2 + off
    y, x = np.mgrid[:side, :side]
    return (x - middle) ** 2 + (y - middle) ** 2 <= radius * radius


def turned(width, height, degrees, ellipse=False):
    """A rectangle or an ellipse, its longer axis turned counterclockwise as seen on the screen."""
    side = int(math.hypot(width, height)) + 7
    y, x = np.mgrid[:side, :side] - side / 2 + 0.5
    angle = math.radians(degrees)
    along = x * math.cos(angle) - y * math.sin(angle)
    across = x * math.sin(angle) + y * math.cos(angle)
    if ellipse:
        return (2 * along / width) ** 2 + (2 * across / height) ** 2 <= 1
    return (abs(along) <= width / 2) & (abs(across) <= height / 2)


def picture(*rows):
    return np.array([[c == "#" for c in row] for row in rows])


def blobs(seed, side, smoothing, share):
    """Random objects with holes, each 4-connected."""
    noise = np.random.default_rng(seed).standard_normal((side, side))
    smooth = ndimage.gaussian_filter(noise, smoothing) if smoothing else noise
    labels = measure.label(smooth > np.quantile(smooth, 1 - share), connectivity=FOUR_CONNECTED)
    sizes = np.bincount(labels.ravel())[1:]
    return [labels == 1 + index for index in np.argsort(sizes)[::-1][:6]]


def masks():
    yield "one pixel", np.pad([[True]], 3)
    yield "two pixels", np.pad([[True, True]], 3)
    yield "line along x", np.pad(np.ones((1, 37), bool), 2)
    yield "line along y", np.pad(np.ones((70, 1), bool), 2)
    yield "corner piece", np.pad(picture("#.", "##"), 1)
    yield "orientation of codes", np.pad(picture("##..", "##.#", ".###"), 1)
    yield "stairs", np.pad(picture("##....", ".##...", "..##..", "...##.", "....##"), 1)
    yield "ring closed over a corner", np.pad(picture("###", "#.#", "##."), 1)
    yield "ring", disk(20) & ~np.pad(disk(9), (disk(20).shape[0] - disk(9).shape[0]) // 2)
    for radius in [1, 2, 3, 5, 10, 50]:
        yield f"disk {radius}", disk(radius)
    yield "disk 50 between pixels", disk(50, 0.5)
    yield "disk 200", disk(200)
    yield "square 90", np.pad(np.ones((90, 90), bool), 3)
    yield "rectangle 63 x 64", np.pad(np.ones((64, 63), bool), 1)
    yield "rectangle 64 x 130", np.pad(np.ones((130, 64), bool), 1)
    for degrees in [0, 30, 45, 100, 135, 171]:
        yield f"rectangle 120 x 60 at {degrees}", turned(120, 60, degrees)
        yield f"ellipse 160 x 80 at {degrees}", turned(160, 80, degrees, ellipse=True)
    yield "needle", turned(300, 3, 12)
    yield "disk at the upper left", disk(40)[30:, 20:]
    yield "disk at the lower right", disk(40)[:50, :64]
    yield "whole image", np.ones((33, 65), bool)
    for seed, side, smoothing, share in [(1, 40, 0, 0.55), (2, 90, 1, 0.5), (3, 130, 2, 0.6), (4, 200, 4, 0.5)]:
        for index, blob in enumerate(blobs(seed, side, smoothing, share)):
            yield f"blob {seed}.{index}", blob
    large = disk(300) & (ndimage.gaussian_filter(np.random.default_rng(5).standard_normal((611, 611)), 6) > -0.07)
    yield "large with holes", largest(large)


def largest(mask):
    labels = measure.label(mask, connectivity=FOUR_CONNECTED)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def runs(mask):
    """Lengths of alternating runs in reading order, empty pixels first."""
    flat = mask.ravel().astype(np.int8)
    ends = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist() + [flat.size]
    return np.diff(np.concatenate([[0], ends])).tolist()


def of_skimage(mask):
    (found,) = measure.regionprops(mask.astype(np.uint8))
    row, column = found.centroid
    return {
        "area": int(found.area),
        "centroid": [column + 0.5, row + 0.5],
        "bbox": [found.bbox[1], found.bbox[0], found.bbox[3] - found.bbox[1], found.bbox[2] - found.bbox[0]],
        "perimeter": found.perimeter,
        "perimeter_crofton": found.perimeter_crofton,
        "equivalent_diameter_area": found.equivalent_diameter_area,
        "axis_major_length": found.axis_major_length,
        "axis_minor_length": found.axis_minor_length,
        "eccentricity": found.eccentricity,
        "orientation": found.orientation,
        "solidity": found.solidity,
        "extent": found.extent,
        "feret_diameter_max": found.feret_diameter_max,
        "euler_number": int(found.euler_number),
        "area_filled": int(ndimage.binary_fill_holes(mask).sum()),
    }


def traced(mask):
    """Corners of the outer boundary as ImageJ's wand lists them, started in the first pixel in reading order."""
    padded = np.pad(mask, 1)

    def inside(x, y):
        return padded[y + 1, x + 1]

    row, column = np.argwhere(mask)[0]
    while inside(column, row):
        column += 1
    # Between two pixels of the row, walking down, the object on the right.
    start = (int(column), int(row) + 1)
    (x, y), heading = start, (0, 1)
    corners = []
    while True:
        (dx, dy) = heading
        # The pixels ahead of the corner (x, y): the one on the left of the way, the one on the right.
        ahead_left = inside(x + (dx + dy - 1) // 2, y + (dy - dx - 1) // 2)
        ahead_right = inside(x + (dx - dy - 1) // 2, y + (dy + dx - 1) // 2)
        if ahead_left:
            turn = (dy, -dx)
        elif ahead_right:
            turn = heading
        else:
            turn = (-dy, dx)
        if turn != heading:
            corners.append((x, y))
        heading = turn
        x, y = x + heading[0], y + heading[1]
        if (x, y) == start and heading == (0, 1):
            return corners


def of_imagej(mask):
    corners = traced(mask)
    total, counted, was_counted = 0, 0, False
    for index, (x, y) in enumerate(corners):
        before = corners[index - 1]
        side = abs(x - before[0]) + abs(y - before[1])
        total += side
        was_counted = side > 1 or not was_counted
        counted += was_counted
    perimeter = total - counted * (2 - math.sqrt(2))
    points = np.array(corners, float)
    hull = points[ConvexHull(points).vertices]
    apart = np.linalg.norm(hull[:, None] - hull[None], axis=2)
    widths = []
    for index in range(len(hull)):
        a, b = hull[index - 1], hull[index]
        normal = np.array([a[1] - b[1], b[0] - a[0]]) / np.linalg.norm(b - a)
        widths.append(np.max(np.abs((hull - a) @ normal)))
    area = int(mask.sum())
    return {
        "perimeter": perimeter,
        "circularity": min(1.0, 4 * math.pi * area / perimeter**2),
        "feret": float(apart.max()),
        "min_feret": float(min(widths)),
        "solidity": area / ConvexHull(points).volume,
    }


def disintegration(whole, core):
    rows, columns = np.nonzero(whole)
    core_rows, core_columns = np.nonzero(core)
    away = np.hypot(rows - core_rows.mean(), columns - core_columns.mean())
    scaled = np.sort(away / math.sqrt(core.sum() / math.pi))
    count = len(scaled)
    reference = np.sqrt((np.arange(count) + 0.5) / count)
    return {
        "index": math.tanh(np.mean(np.abs(scaled - reference))),
        "radial_reach_q95": float(np.quantile(scaled, 0.95)),
        "dispersed_mass": float(1 - core.sum() / count),
    }


def spheroids():
    yield "compact", disk(60), disk(60)
    yield "halo", disk(90, side=221), disk(50, side=221)
    far = disk(90, side=221).copy()
    far[:12, :15] = True
    far[200:, 190:205] = True
    off = np.roll(disk(40, side=221), (20, -13), (0, 1))
    yield "pieces and an off-centre core", far, off


def main():
    golden = {
        "masks": [
            {
                "name": name,
                "width": mask.shape[1],
                "height": mask.shape[0],
                "runs": runs(mask),
                "skimage": of_skimage(mask),
                "imagej": of_imagej(mask),
            }
            for name, mask in masks()
        ],
        "spheroids": [
            {
                "name": name,
                "width": whole.shape[1],
                "height": whole.shape[0],
                "whole": runs(whole),
                "core": runs(core),
                "expected": disintegration(whole, core),
            }
            for name, whole, core in spheroids()
        ],
    }
    text = json.dumps(golden, separators=(",", ":")).replace('{"name"', '\n{"name"')
    pathlib.Path(__file__).with_suffix(".json").write_text(text + "\n")


main()
