"""The pipeline that a laboratory writes with OpenCV, as well as it can be written without leaving OpenCV and numpy:
decode, percentiles, background from an eighth, Gaussian, Otsu, holes, opening, specks, exact distances, peaks,
watershed, contours and measurements. One thread.

usage: opencv_pipeline.py IMAGE [ROUNDS]     prints JSON: the milliseconds of each step of each round, and the objects
"""

import json
import sys
import time

import cv2
import numpy as np

LOW, HIGH = 0.01, 0.998  # share of the pixels below black and below white
BACKGROUND_SIGMA = 0.1  # of the shorter side of the eighth
SMOOTHING_SIGMA = 2.0  # pixels
OPENING_RADIUS = 5  # pixels
MIN_AREA = 500  # pixels
PEAK_SIGMA = 2.0  # pixels
PEAK_DISTANCE = 20  # pixels between two centres at least

cv2.setNumThreads(1)


class Steps:
    def __init__(self):
        self.ms = {}
        self.last = time.perf_counter()

    def done(self, name):
        now = time.perf_counter()
        self.ms[name] = 1000 * (now - self.last)
        self.last = now


def main():
    path, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    done = []
    for _ in range(rounds):
        steps = Steps()
        objects = segment(path, steps)
        done.append({"steps": steps.ms, "objects": len(objects)})
    print(json.dumps({"rounds": done, "opencv": cv2.__version__, "numpy": np.__version__}))


def segment(path, steps):
    image = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    if image.ndim == 3:
        image = cv2.cvtColor(image[:, :, :3], cv2.COLOR_BGR2GRAY)
    steps.done("decode")
    flat = normalise(image)
    steps.done("normalise")
    flat = even_out(flat)
    steps.done("background")
    flat = cv2.GaussianBlur(flat, (0, 0), SMOOTHING_SIGMA)
    steps.done("smooth")
    mask = otsu(flat)
    steps.done("threshold")
    mask = fill_holes(mask)
    steps.done("holes")
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * OPENING_RADIUS + 1, 2 * OPENING_RADIUS + 1))
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disk)
    steps.done("opening")
    mask = drop_specks(mask)
    steps.done("specks")
    distances = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    steps.done("distances")
    markers, peaks = peaks_of(distances, mask)
    steps.done("peaks")
    labels = watershed(distances, mask, markers)
    steps.done("watershed")
    objects = measure(labels, peaks, image)
    steps.done("measure")
    return objects


def normalise(image):
    levels = 256 if image.dtype == np.uint8 else 65536
    counts = cv2.calcHist([image], [0], None, [levels], [0, levels]).ravel()
    share = np.cumsum(counts) / image.size
    low, high = np.searchsorted(share, LOW), np.searchsorted(share, HIGH)
    scale = 1.0 / max(1, high - low)
    return np.clip(cv2.multiply(image, scale, dtype=cv2.CV_32F) - np.float32(low * scale), 0, 1)


def even_out(flat):
    """Minus the background, and objects brighter than it: the ground is what most of the picture is."""
    height, width = flat.shape
    small = cv2.resize(flat, (max(1, width // 8), max(1, height // 8)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), BACKGROUND_SIGMA * min(small.shape))
    flat = cv2.subtract(flat, cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))
    low, high = cv2.minMaxLoc(cv2.resize(flat, small.shape[::-1], interpolation=cv2.INTER_AREA))[:2]
    return cv2.subtract(0.0, flat) if -low > high else flat


def otsu(flat):
    grey = cv2.normalize(flat, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    return cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1]


def fill_holes(mask):
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(mask, contours, -1, 255, cv2.FILLED)


def drop_specks(mask):
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
    keep = np.where(statistics[:, cv2.CC_STAT_AREA] >= MIN_AREA, 255, 0).astype(np.uint8)
    keep[0] = 0
    return keep[labels]


def peaks_of(distances, mask):
    smooth = cv2.GaussianBlur(distances, (0, 0), PEAK_SIGMA)
    size = 2 * PEAK_DISTANCE + 1
    highest = cv2.dilate(smooth, cv2.getStructuringElement(cv2.MORPH_RECT, (size, size)))
    peaks = cv2.bitwise_and(cv2.compare(smooth, highest, cv2.CMP_GE), mask)
    count, markers = cv2.connectedComponents(peaks, connectivity=8, ltype=cv2.CV_32S)
    return markers, count - 1


def watershed(distances, mask, markers):
    ground = markers.max() + 1
    markers[mask == 0] = ground
    relief = cv2.normalize(distances, None, 255, 0, cv2.NORM_MINMAX, cv2.CV_8U)
    labels = cv2.watershed(cv2.merge([relief, relief, relief]), markers)
    labels[(labels == ground) | (labels < 0)] = 0
    return labels


def measure(labels, peaks, image):
    """Of each object in its own box: contour, area, perimeter, moments, diameter, hull, box, intensities."""
    objects = []
    for number, box in boxes(labels, peaks):
        x, y, width, height = box
        window = np.s_[y : y + height, x : x + width]
        mask = (labels[window] == number).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(x, y))
        outer = max(contours, key=cv2.contourArea)
        area = cv2.countNonZero(mask)
        moments = cv2.moments(mask, binaryImage=True)
        mean = cv2.mean(image[window], mask)[0]
        low, high = cv2.minMaxLoc(image[window], mask)[:2]
        perimeter = sum(cv2.arcLength(contour, True) for contour in contours)
        hull = cv2.contourArea(cv2.convexHull(outer))
        objects.append(
            {
                "area": area,
                "perimeter": perimeter,
                "circularity": 4 * np.pi * area / max(1.0, perimeter) ** 2,
                "equivalent_diameter": np.sqrt(4 * area / np.pi),
                "centroid": (x + moments["m10"] / area, y + moments["m01"] / area),
                "solidity": area / max(1.0, hull),
                "box": box,
                "intensity": (mean, low, high),
                "contour": outer,
            }
        )
    return objects


def boxes(labels, peaks):
    """The upright box of every label, with one pass of connected components over all of them."""
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(
        (labels > 0).astype(np.uint8), connectivity=4, ltype=cv2.CV_32S
    )
    for part in range(1, len(statistics)):
        x, y, width, height, _ = statistics[part]
        if statistics[part, cv2.CC_STAT_AREA] < MIN_AREA:
            continue
        window = labels[y : y + height, x : x + width]
        inside = window[parts[y : y + height, x : x + width] == part]
        yield int(inside[0]), (int(x), int(y), int(width), int(height))


if __name__ == "__main__":
    main()
