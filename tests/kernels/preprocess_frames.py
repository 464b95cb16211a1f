# SPDX-License-Identifier: Apache-2.0
"""Frames and specs for the kernel tests, by hand and by hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from edgeguard import _kernels
from edgeguard.intake.preprocess import InputSpec

FORMATS = ("BGR", "RGB", "BGRA", "GRAY", "YUYV", "NV12")
SUMS = (
    "pixels",
    "pairs",
    "luma_sum",
    "luma_squared_sum",
    "gradient_sum",
    "black_count",
    "saturated_count",
)
SIMD = [name for name in ("avx2", "neon") if _kernels.available(getattr(_kernels.Variant, name))]
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def frame_shape(frame_format: str, height: int, width: int) -> tuple[int, ...]:
    depth = {"BGR": (3,), "RGB": (3,), "BGRA": (4,), "YUYV": (2,)}.get(frame_format, ())
    return (height * 3 // 2 if frame_format == "NV12" else height, width, *depth)


def noise(frame_format: str, height: int, width: int, seed: int = 0) -> np.ndarray:
    """A frame of noise with black and saturated regions, rows padded to an odd stride."""
    rng = np.random.default_rng(seed)
    rows, columns, *depth = frame_shape(frame_format, height, width)
    pixel = depth[0] if depth else 1
    memory = rng.integers(0, 256, (rows, columns * pixel + 13), dtype=np.uint8)
    memory[: rows // 4] //= 24
    memory[-(rows // 4) :] |= 0xE0
    packed = memory[:, : columns * pixel]
    strides = (memory.strides[0], pixel, 1) if depth else (memory.strides[0], 1)
    return np.lib.stride_tricks.as_strided(packed, (rows, columns, *depth), strides)


@st.composite
def specs(draw: st.DrawFn, colours: tuple[str, ...] = ("RGB", "BGR", "GRAY")) -> InputSpec:
    dtype = draw(st.sampled_from(["float32", "int8", "uint8"]))
    colour = draw(st.sampled_from(colours))
    channels = 1 if colour == "GRAY" else 3
    return InputSpec(
        height=draw(st.integers(1, 50)),
        width=draw(st.integers(1, 50)),
        layout=draw(st.sampled_from(["CHW", "HWC"])),
        dtype=dtype,
        colour=colour,
        scale=0.02 if dtype != "float32" else 1.0,
        zero_point={"int8": -7, "uint8": 110, "float32": 0}[dtype],
        fit=draw(st.sampled_from(["stretch", "letterbox", "crop"])),
        resize=draw(st.sampled_from(["bilinear", "area"])),
        pad=draw(st.integers(0, 255)),
        mean=IMAGENET["mean"][:channels],
        std=IMAGENET["std"][:channels],
    )


@st.composite
def boxes(draw: st.DrawFn, height: int, width: int) -> tuple[int, int, int, int]:
    w, h = draw(st.integers(1, width)), draw(st.integers(1, height))
    return draw(st.integers(0, width - w)), draw(st.integers(0, height - h)), w, h
