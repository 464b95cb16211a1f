# SPDX-License-Identifier: Apache-2.0
"""What the kernel refuses, in words that say what is wrong, before it writes anything."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from preprocess_frames import noise

from edgeguard import _kernels
from edgeguard.intake.preprocess import InputSpec, Preprocessor

SPEC = InputSpec(8, 12, resize="bilinear")
FRAME = noise("BGR", 48, 64)


def refused(error, match, frame=FRAME, out=None, box=None):
    out = SPEC.empty() if out is None else out
    before = out.copy()
    with pytest.raises(error, match=match):
        Preprocessor(SPEC, 48, 64).run(frame, out, box)
    assert np.array_equal(out, before, equal_nan=True)


@pytest.mark.parametrize(
    ("box", "match"),
    [
        ((0, 0, 0, 5), "is empty"),
        ((0, 0, 5, 0), "is empty"),
        ((5, 5, -3, 4), "is empty"),
        ((-1, 0, 5, 5), r"x=-1.*does not lie inside the frame of 64x48"),
        ((0, -1, 5, 5), "inside the frame"),
        ((60, 0, 5, 5), "inside the frame"),
        ((0, 44, 5, 5), "inside the frame"),
        ((0, 0, 65, 48), "inside the frame"),
        ((2**40, 0, 5, 5), "inside the frame"),
        ((-(2**80), 0, 5, 5), "inside the frame"),
        ((2, 2, 2**31 - 1, 2**31 - 1), "inside the frame"),
    ],
)
def test_boxes_outside(box, match):
    refused(ValueError, match, box=box)


@pytest.mark.parametrize("box", [(0, 0, 5), (0, 0, 5.0, 5), (0, 0, math.nan, 5), "0055", 7, {}])
def test_boxes_that_are_none(box):
    refused(TypeError, r"four ints: \(x, y, width, height\)", box=box)


def test_numpy_integers_are_ints():
    kernel, one, two = Preprocessor(SPEC, 48, 64), SPEC.empty(), SPEC.empty()
    kernel.run(FRAME, one, tuple(np.array([1, 2, 30, 40], np.uint16)))
    kernel.run(FRAME, two, (1, 2, 30, 40))
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    ("frame", "error", "match"),
    [
        (FRAME.astype(np.float32), TypeError, "dtype float32, but cameras give uint8"),
        (FRAME.view(np.int8), TypeError, "dtype int8"),
        (FRAME[:47], ValueError, r"shape \(47, 64, 3\).*BGR frames of shape \(48, 64, 3\)"),
        (FRAME[:, :, 0], ValueError, r"shape \(48, 64\)"),
        (FRAME[:0], ValueError, r"shape \(0, 64, 3\)"),
        (FRAME[:, :, ::-1], ValueError, "ascontiguousarray"),
        (np.repeat(FRAME, 2, axis=1)[:, ::2], ValueError, "ascontiguousarray"),
        (FRAME[:, ::-1], ValueError, "ascontiguousarray"),
        (FRAME.tolist(), TypeError, "frame must be a numpy array, not list"),
        (None, TypeError, "not NoneType"),
    ],
)
def test_frames(frame, error, match):
    refused(error, match, frame=frame)


def _read_only():
    out = SPEC.empty()
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("out", "error", "match"),
    [
        (np.empty((1, 3, 8, 12)), TypeError, "out has dtype float64, but the model wants float32"),
        (np.empty((1, 3, 8, 12), ">f4"), TypeError, "out has dtype"),
        (np.empty((1, 3, 12, 8), "f4"), ValueError, r"the model wants \(3, 8, 12\)"),
        (np.empty((2, 3, 8, 12), "f4"), ValueError, "batch axis of 1"),
        (np.empty((1, 3, 8, 24), "f4")[..., ::2], ValueError, "C-contiguous"),
        (_read_only(), ValueError, "read-only"),
    ],
)
def test_tensors(out, error, match):
    refused(error, match, out=out)


def test_a_tensor_inside_the_frame():
    spec = InputSpec(48, 64, "HWC", "uint8", scale=1 / 255)
    frame = FRAME.copy()
    for out in (frame, frame[None]):
        with pytest.raises(ValueError, match="share memory"):
            Preprocessor(spec, 48, 64).run(frame, out)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"height": 0}, "1 to 16384"),
        ({"width": 16385}, "1 to 16384"),
        ({"layout": "NCHW"}, "layout is 'NCHW'; use one of CHW, HWC"),
        ({"dtype": "float16"}, "use one of float32, int8, uint8"),
        ({"colour": "YUV"}, "use one of RGB, BGR, GRAY"),
        ({"fit": "pad"}, "use one of stretch, letterbox, crop"),
        ({"resize": "cubic"}, "use one of bilinear, area"),
        ({"pad": 256}, "pad is a grey level"),
        ({"mean": (0.0, 1.0)}, "mean has 2 values for 3 channels"),
        ({"std": (1.0, 0.0, 1.0)}, "every std must be above 0"),
        ({"std": (1.0, math.nan, 1.0)}, "every std must be above 0"),
        ({"mean": (0.0, math.nan, 1.0)}, "check their units"),
        ({"mean": (0.0, math.inf, 1.0)}, "check their units"),
        ({"dtype": "int8", "scale": 0.0}, "scale above 0"),
        ({"dtype": "int8", "scale": math.nan}, "scale above 0"),
        ({"dtype": "int8", "scale": 1e-12}, "check their units"),
        ({"dtype": "int8", "zero_point": 128}, "zero_point 128"),
        ({"dtype": "uint8", "zero_point": -1}, "zero_point -1"),
    ],
)
def test_specs(changes, match):
    with pytest.raises(ValueError, match=match):
        Preprocessor(InputSpec(**{"height": 8, "width": 12, **changes}), 48, 64)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((0, 64, "BGR"), "1 to 16384"),
        ((48, 20000, "BGR"), "1 to 16384"),
        ((48, 63, "YUYV"), "even width"),
        ((47, 64, "NV12"), "even height"),
        ((48, 64, "I420"), "use one of BGR, RGB, BGRA, GRAY, YUYV, NV12"),
    ],
)
def test_frame_kinds(arguments, match):
    with pytest.raises(ValueError, match=match):
        Preprocessor(SPEC, *arguments)


def test_variants_that_are_not_there():
    missing = next(
        name for name in ("avx2", "neon") if not _kernels.available(getattr(_kernels.Variant, name))
    )
    with pytest.raises(ValueError, match="lacks the variant"):
        Preprocessor(SPEC, 48, 64, variant=missing)
    with pytest.raises(ValueError, match="use one of auto, scalar"):
        Preprocessor(SPEC, 48, 64, variant="sse9")


def test_a_vector_is_no_picture():
    from edgeguard.card import Input

    with pytest.raises(ValueError, match="takes no camera frame"):
        InputSpec.of(Input("VECTOR", "float32", (4,)))
    spec = InputSpec.of(Input("HWC", "int8", (8, 12), 0.5, 3))
    assert spec == InputSpec(8, 12, "HWC", "int8", scale=0.5, zero_point=3)
    assert len({spec, InputSpec.of(Input("HWC", "int8", (8, 12), 0.5, 3))}) == 1


def test_two_threads_on_one_kernel():
    """The second caller is told, which also shows that the first released the GIL."""
    frame = np.zeros((4000, 4000, 3), np.uint8)
    spec = InputSpec(32, 32, resize="area")
    kernel = Preprocessor(spec, 4000, 4000, variant="scalar")
    running, found = threading.Event(), []

    def work():
        running.set()
        kernel.run(frame, spec.empty())

    thread = threading.Thread(target=work)
    thread.start()
    running.wait()
    while thread.is_alive() and not found:
        try:
            kernel.run(frame, spec.empty(), (0, 0, 1, 1))
        except RuntimeError as error:
            found.append(str(error))
    thread.join()
    assert found and "another thread" in found[0]
