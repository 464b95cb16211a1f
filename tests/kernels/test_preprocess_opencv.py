# SPDX-License-Identifier: Apache-2.0
"""The reference against OpenCV: at most one grey level, over sizes that cameras and models have."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from preprocess_frames import IMAGENET, noise

from edgeguard.intake.preprocess import InputSpec, Preprocessor

CASES = [
    ((480, 640), (224, 224)),
    ((720, 1280), (126, 224)),
    ((479, 641), (32, 32)),
    ((61, 47), (32, 32)),
    ((20, 23), (32, 32)),
    ((33, 90), (33, 45)),
]
CODES = {
    "RGB": None,
    "BGR": "COLOR_BGR2RGB",
    "BGRA": "COLOR_BGRA2RGB",
    "GRAY": "COLOR_GRAY2RGB",
    "YUYV": "COLOR_YUV2RGB_YUYV",
    "NV12": "COLOR_YUV2RGB_NV12",
}


def greys(frame, size, resize, frame_format="RGB", **options):
    height = frame.shape[0] * 2 // 3 if frame_format == "NV12" else frame.shape[0]
    spec = InputSpec(*size, "HWC", resize=resize, **options)
    out = spec.empty()
    Preprocessor(spec, height, frame.shape[1], frame_format).run(frame, out)
    return out[0] * 255


@pytest.mark.parametrize(("source", "target"), CASES)
def test_bilinear(source, target):
    frame = np.ascontiguousarray(noise("RGB", *source))
    want = cv2.resize(frame, target[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.abs(greys(frame, target, "bilinear") - want).max() <= 1.0


@pytest.mark.parametrize(("source", "target"), [c for c in CASES if c[0] >= c[1]])
def test_area(source, target):
    frame = np.ascontiguousarray(noise("RGB", *source))
    want = cv2.resize(frame, target[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(greys(frame, target, "area") - want).max() <= 1.0


@pytest.mark.parametrize("frame_format", CODES)
def test_formats(frame_format):
    """At identity: the colours alone, and they are OpenCV's to the last bit."""
    frame = np.ascontiguousarray(noise(frame_format, 48, 64))
    code = CODES[frame_format]
    want = cv2.cvtColor(frame, getattr(cv2, code)) if code else frame
    found = greys(frame, (48, 64), "bilinear", frame_format)
    assert np.array_equal(np.rint(found), want)


def test_grey_models():
    frame = np.ascontiguousarray(noise("BGR", 48, 64))
    found = greys(frame, (48, 64), "bilinear", "BGR", colour="GRAY")
    assert np.array_equal(np.rint(found[..., 0]), cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))


@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (640, 480)])
def test_the_letterbox_of_blob_from_image(size):
    frame = cv2.blur(np.ascontiguousarray(noise("BGR", *size)), (3, 3))
    spec = InputSpec(224, 224, resize="bilinear", fit="letterbox", pad=114, **IMAGENET)
    out = spec.empty()
    Preprocessor(spec, *size).run(frame, out)
    mean, std = (np.array(IMAGENET[k]) * 255 for k in ("mean", "std"))
    params = cv2.dnn.Image2BlobParams()
    params.scalefactor = (*(1 / std), 1.0)
    params.mean = (*mean, 0.0)
    params.size, params.swapRB, params.ddepth = (224, 224), True, cv2.CV_32F
    params.paddingmode = cv2.dnn.DNN_PMODE_LETTERBOX
    params.borderValue = (114.0, 114.0, 114.0, 0.0)
    want = cv2.dnn.blobFromImageWithParams(frame, params)
    assert np.abs((out - want) * std[:, None, None]).max() <= 1.0
