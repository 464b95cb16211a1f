# SPDX-License-Identifier: Apache-2.0
"""Sensor health: the integers against numpy on the pixels that are read, and the content hash."""

from __future__ import annotations

import numpy as np
import preprocess_oracle as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preprocess_frames import FORMATS, SIMD, SUMS, boxes, noise

from edgeguard.intake.preprocess import InputSpec, Preprocessor

VARIANTS = ["scalar", *SIMD]


def health(frame, spec, frame_format="BGR", box=None, variant=None):
    height = frame.shape[0] * 2 // 3 if frame_format == "NV12" else frame.shape[0]
    kernel = Preprocessor(spec, height, frame.shape[1], frame_format, variant=variant)
    return kernel.run(frame, spec.empty(), box)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_sums_are_those_of_the_pixels_read(data):
    height, width = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 110))
    frame = noise("RGB", height, width, data.draw(st.integers(0, 99)))
    x, y, w, h = box = data.draw(boxes(height, width))
    size = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    resize = data.draw(st.sampled_from(["bilinear", "area"]))

    found = health(frame, InputSpec(*size, resize=resize), "RGB", box)

    rgb = frame[y : y + h, x : x + w]
    shrinks = resize == "area" and (w > size[1] or h > size[0])
    want = oracle.health_area(rgb) if shrinks else oracle.health_bilinear(rgb, *size)
    assert {name: getattr(found, name) for name in SUMS} == want
    mean = want["luma_sum"] / want["pixels"]
    assert found.mean == pytest.approx(mean)
    assert found.variance == pytest.approx(want["luma_squared_sum"] / want["pixels"] - mean**2)
    assert found.black == pytest.approx(want["black_count"] / want["pixels"])
    assert found.saturated == pytest.approx(want["saturated_count"] / want["pixels"])
    assert found.sharpness == pytest.approx(want["gradient_sum"] / max(want["pairs"], 1))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("frame_format", ["BGR", "RGB"])
def test_every_variant_counts_full_white_and_black(variant, frame_format):
    """The largest sums that a row can give stay inside their lanes."""
    frame = np.full((4, 16384, 3), 255, np.uint8)
    frame[2:] = 16
    for resize in ("bilinear", "area"):
        found = health(frame, InputSpec(4, 16384, resize=resize), frame_format, None, variant)
        assert found.saturated + found.black == 1.0
        assert found.sharpness == 0.0
        assert found.luma_squared_sum == (found.saturated_count * 255**2 + found.black_count * 256)


@pytest.mark.parametrize("frame_format", FORMATS)
def test_share_read(frame_format):
    frame = noise(frame_format, 480, 640)
    area = health(frame, InputSpec(32, 32, resize="area"), frame_format)
    boxed = health(frame, InputSpec(32, 32, resize="area"), frame_format, (8, 8, 64, 48))
    bilinear = health(frame, InputSpec(48, 64, resize="bilinear"), frame_format)
    assert area.share_read == 1.0
    assert boxed.share_read == pytest.approx(0.01)
    assert bilinear.share_read == pytest.approx((2 / 10) ** 2)


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_hash_changes_with_every_pixel_read_and_no_other(variant, data):
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 70))
    frame = noise("BGR", height, width).copy()
    x, y, w, h = box = data.draw(boxes(height, width))
    size = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    spec = InputSpec(*size, resize=data.draw(st.sampled_from(["bilinear", "area"])))
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    channel, step = data.draw(st.integers(0, 2)), data.draw(st.integers(1, 255))

    before = health(frame, spec, "BGR", box, variant)
    frame[row, column, channel] = (int(frame[row, column, channel]) + step) % 256
    after = health(frame, spec, "BGR", box, variant)

    rows, columns = np.arange(y, y + h), np.arange(x, x + w)
    if spec.resize == "bilinear" or (w <= size[1] and h <= size[0]):
        rows = y + np.concatenate(oracle.neighbours(h, size[0])[:2])
        columns = x + np.concatenate(oracle.neighbours(w, size[1])[:2])
    read = row in rows and column in columns
    assert (after.content_hash != before.content_hash) == read


def test_hash_of_a_stream_repeats_only_with_its_frames():
    """30 frames of slight noise on one picture: all hashes differ, a repeated frame's does not."""
    rng = np.random.default_rng(5)
    still = rng.integers(2, 250, (120, 160, 3), dtype=np.uint8)
    spec = InputSpec(32, 32, resize="area")
    frames = [still + rng.integers(0, 2, still.shape, dtype=np.uint8) for _ in range(30)]
    hashes = [health(frame, spec).content_hash for frame in frames]
    assert len(set(hashes)) == 30
    assert health(frames[7], spec).content_hash == hashes[7]


def test_the_record_is_the_callers():
    frame = noise("BGR", 48, 64)
    spec = InputSpec(8, 8)
    kernel, out = Preprocessor(spec, 48, 64), spec.empty()
    first = kernel.run(frame, out)
    mean = first.mean
    second = kernel.run(frame // 2, out)
    assert (first is second, first.mean) == (False, mean)
    assert kernel.run(frame, out, None, second) is second
    assert second.mean == mean
