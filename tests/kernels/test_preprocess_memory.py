# SPDX-License-Identifier: Apache-2.0
"""Memory: no read outside the frame, no write outside the tensor, no allocation in a run."""

from __future__ import annotations

import ctypes
import mmap
import tracemalloc

import numpy as np
import pytest
from preprocess_frames import FORMATS, SIMD, frame_shape, noise

from edgeguard.intake.preprocess import Health, InputSpec, Preprocessor

PAGE = mmap.PAGESIZE


class Fenced:
    """Bytes between two pages that kill the process when they are touched."""

    def __init__(self, size):
        pages = -(-size // PAGE) + 2
        self.map = mmap.mmap(-1, pages * PAGE)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        self.inside = (pages - 2) * PAGE
        for page in (0, pages - 1):
            assert (
                ctypes.CDLL(None).mprotect(ctypes.c_void_p(self.base + page * PAGE), PAGE, 0) == 0
            )

    def array(self, shape, dtype, at_end):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        start = PAGE + (self.inside - size if at_end else 0)
        return np.frombuffer(self.map, dtype, int(np.prod(shape)), start).reshape(shape)


SIZES = [(1, 1), (1, 2), (3, 3), (2, 5), (7, 11), (16, 21), (33, 34), (40, 100)]


@pytest.mark.parametrize("resize", ["bilinear", "area"])
@pytest.mark.parametrize("frame_format", FORMATS)
def test_nothing_outside_is_touched(frame_format, resize):
    """Frame and tensor lie between pages without access, first at one end, then at the other."""
    times = 2 if frame_format in ("YUYV", "NV12") else 1
    for height, width in ((times * h, times * w) for h, w in SIZES):
        shape = frame_shape(frame_format, height, width)
        memory = Fenced(int(np.prod(shape)))
        for spec in (
            InputSpec(13, 17, resize=resize),
            InputSpec(5, 24, "HWC", "int8", scale=1 / 255, resize=resize, fit="letterbox"),
            InputSpec(16, 16, "HWC", resize=resize),
        ):
            tensor = Fenced(int(np.prod(spec.shape)) * 4)
            for at_end in (False, True):
                frame = memory.array(shape, np.uint8, at_end)
                frame[...] = noise(frame_format, height, width)
                out = tensor.array(spec.shape, spec.dtype, at_end)
                for variant in (None, "scalar"):
                    Preprocessor(spec, height, width, frame_format, variant=variant).run(frame, out)


@pytest.mark.parametrize("variant", ["scalar", *SIMD])
def test_a_run_allocates_nothing(variant):
    """Python's side, by tracemalloc; operator new is counted by native/kernels/tests."""
    frame = noise("BGR", 96, 128)
    spec = InputSpec(32, 32, resize="area", fit="letterbox")
    kernel, out, health = Preprocessor(spec, 96, 128, variant=variant), spec.empty(), Health()
    boxes = [(i, i, 40 + i, 30 + i) for i in range(10)]
    for box in boxes:
        kernel.run(frame, out, box, health)
    peaks = []  # of the whole process: what another thread allocates comes and goes
    tracemalloc.start()
    try:
        for _ in range(10):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            for _ in range(10):
                for box in boxes:
                    kernel.run(frame, out, box, health)
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    assert min(peaks) < 1024  # a frame is 36,864 bytes, the tensor 12,288: the loop's own objects
