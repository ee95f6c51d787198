"""The model behind all services for tests: Otsu's threshold, dark objects on a bright ground or the other way round."""

import numpy as np
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label
from skimage.morphology import remove_small_objects


def mask(image: np.ndarray) -> np.ndarray:
    """The objects of a grey image: what is on the rarer side of the threshold, without specks."""
    smooth = gaussian(image.astype(float), sigma=2)
    above = smooth > threshold_otsu(smooth)
    objects = above if above.mean() < 0.5 else ~above
    return remove_small_objects(objects, max_size=100)


def labels(image: np.ndarray) -> np.ndarray:
    """The same with a number for each object."""
    return label(mask(image), connectivity=1)


def probabilities(image: np.ndarray) -> np.ndarray:
    """Near one inside the objects, near zero outside."""
    return np.where(mask(image), 0.9, 0.1).astype(np.float32)
