# SPDX-License-Identifier: Apache-2.0
"""Feature squeezing against scipy and OpenCV, bit for bit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage

from edgeguard import _kernels

SHAPES = [(1, 1, 3), (1, 2, 3), (2, 1, 1), (3, 3, 3), (32, 32, 3), (31, 45, 1), (17, 70, 4)]
FILTERS = {2: _kernels.squeeze_median2, 3: _kernels.squeeze_median3}


def image(shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", FILTERS)
def test_median_is_scipys(size, shape):
    picture = image(shape)
    out = np.empty_like(picture)
    FILTERS[size](picture, out)
    assert np.array_equal(out, ndimage.median_filter(picture, size=(size, size, 1), mode="nearest"))


@pytest.mark.parametrize("shape", [(32, 32, 3), (31, 45, 1), (17, 70, 4)])
def test_median3_is_opencvs(shape):
    picture = image(shape)
    out = np.empty_like(picture)
    _kernels.squeeze_median3(picture, out)
    assert np.array_equal(out.reshape(shape), cv2.medianBlur(picture, 3).reshape(shape))


@pytest.mark.parametrize("bits", range(1, 9))
def test_depth_goes_to_the_nearest_level(bits):
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    out = np.empty_like(picture)
    _kernels.squeeze_depth(picture, out, bits)
    levels = np.rint(np.arange(2**bits) * 255 / (2**bits - 1))
    nearest = np.rint(np.arange(256) / 255 * (2**bits - 1)).astype(int)
    assert np.array_equal(out.ravel(), levels[nearest])
    assert len(np.unique(out)) == 2**bits


@pytest.mark.parametrize("bits", [0, 9, -1])
def test_depths_that_are_none(bits):
    with pytest.raises(ValueError, match="bits must be 1 to 8"):
        _kernels.squeeze_depth(image((4, 4, 3)), np.empty((4, 4, 3), np.uint8), bits)


@pytest.mark.parametrize("squeeze", FILTERS.values())
def test_refusals(squeeze):
    picture = image((8, 8, 3))
    with pytest.raises(ValueError, match="share memory"):
        squeeze(picture, picture)
    with pytest.raises(ValueError, match="same shape"):
        squeeze(picture, np.empty((8, 7, 3), np.uint8))
    with pytest.raises(ValueError, match="not empty"):
        squeeze(picture[:0], np.empty((0, 8, 3), np.uint8))
    with pytest.raises(TypeError, match="uint8"):
        squeeze(picture.astype(float), np.empty((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="C-contiguous"):
        squeeze(image((8, 16, 3))[:, ::2], np.empty((8, 8, 3), np.uint8))
