# SPDX-License-Identifier: Apache-2.0
"""The scalar reference against float64 matrices, and every SIMD variant against the reference."""

from __future__ import annotations

import dataclasses

import numpy as np
import preprocess_oracle as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preprocess_frames import FORMATS, IMAGENET, SIMD, SUMS, boxes, noise, specs

from edgeguard.intake.preprocess import InputSpec, Preprocessor


def run(spec, frame, frame_format, box=None, **options):
    height = frame.shape[0] * 2 // 3 if frame_format == "NV12" else frame.shape[0]
    out = spec.empty()
    kernel = Preprocessor(spec, height, frame.shape[1], frame_format, **options)
    return out[0], kernel.run(frame, out, box)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_reference_is_what_the_matrices_say(data):
    frame_format = data.draw(st.sampled_from(FORMATS))
    height, width = (2 * data.draw(st.integers(1, 40)) for _ in range(2))
    spec = data.draw(specs())
    box = data.draw(boxes(height, width))
    frame = noise(frame_format, height, width, data.draw(st.integers(0, 99)))

    found, _ = run(spec, frame, frame_format, box, variant="scalar")

    x, y, w, h = box
    rgb = oracle.to_rgb(frame, frame_format)[y : y + h, x : x + w]
    want = oracle.tensor(oracle.greys(rgb, spec), spec)
    # grey levels: weights of 15 (bilinear) or 11 bits (mixed), and one more where integers round
    grey = 0.15 + (frame_format in ("YUYV", "NV12") or spec.colour == "GRAY") * 1.0
    steps = grey / 255 / min(spec.std) / (spec.scale if spec.dtype != "float32" else 1)
    if spec.dtype != "float32":
        low = -128 if spec.dtype == "int8" else 0
        want, steps = np.clip(want, low, low + 255), steps + 0.5
    assert np.abs(found - want).max() <= steps + 1e-5


@pytest.mark.parametrize("resize", ["bilinear", "area"])
def test_float_is_exact_to_rounding(resize):
    """Enlarged by whole numbers or shrunk, all weights are exact: only float32 rounding is left."""
    frame = noise("RGB", 48, 64)
    for size in [(96, 128), (24, 32), (12, 16), (48, 64)]:
        spec = InputSpec(*size, resize=resize, **IMAGENET)
        found, _ = run(spec, frame, "RGB", variant="scalar")
        want = oracle.tensor(oracle.greys(frame, spec), spec)
        assert np.abs(found - want).max() < 2e-6


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_integers_round_half_to_even_and_saturate(dtype):
    """At identity with scale 2/255, grey levels stand on whole and half steps."""
    frame = np.arange(256, dtype=np.uint8)[None]
    spec = InputSpec(1, 256, "CHW", dtype, "GRAY", scale=2 / 255, zero_point=0)
    found, _ = run(spec, frame, "GRAY")
    low, high = (-128, 127) if dtype == "int8" else (0, 255)
    assert found.ravel().tolist() == np.clip(np.rint(np.arange(256) / 2), low, high).tolist()
    steep = dataclasses.replace(spec, scale=1 / 2550, zero_point=low)
    found, _ = run(steep, frame, "GRAY")
    assert found.ravel().tolist() == np.clip(np.arange(256) * 10 + low, low, high).tolist()


@pytest.mark.skipif(not SIMD, reason="this CPU has no SIMD variant: the scalar reference runs")
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_simd_equals_the_reference_bit_for_bit(data):
    frame_format = data.draw(st.sampled_from(["BGR", "RGB"]))
    height, width = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 130))
    spec = data.draw(specs(("RGB", "BGR")))
    box = data.draw(boxes(height, width))
    frame = noise(frame_format, height, width, data.draw(st.integers(0, 99)))
    if data.draw(st.booleans()):
        frame = frame[::-1]  # a negative stride

    want, health = run(spec, frame, frame_format, box, variant="scalar")
    for variant in SIMD:
        found, other = run(spec, frame, frame_format, box, variant=variant)
        assert np.array_equal(found.view(np.uint8), want.view(np.uint8))
        assert [getattr(other, f) for f in SUMS] == [getattr(health, f) for f in SUMS]
        assert other.content_hash == health.content_hash


@pytest.mark.skipif(not SIMD, reason="this CPU has no SIMD variant: the scalar reference runs")
@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (1080, 1920), (2160, 3840)])
@pytest.mark.parametrize("resize", ["bilinear", "area"])
def test_simd_equals_the_reference_on_camera_sizes(size, resize):
    frame = noise("BGR", *size)
    spec = InputSpec(224, 224, resize=resize, fit="letterbox", **IMAGENET)
    want, health = run(spec, frame, "BGR", variant="scalar")
    found, other = run(spec, frame, "BGR")
    assert np.array_equal(found, want)
    assert other.content_hash == health.content_hash


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
@pytest.mark.parametrize("frame_format", ["RGB", "BGR"])
def test_simd_runs_where_it_is_said_to(frame_format, colour):
    for resize in ("bilinear", "area"):
        spec = InputSpec(32, 32, colour=colour, resize=resize)
        assert Preprocessor(spec, 480, 640, frame_format).variant == (SIMD or ["scalar"])[0]


def test_variant_by_environment(monkeypatch):
    monkeypatch.setenv("EDGEGUARD_KERNELS", "scalar")
    assert Preprocessor(InputSpec(32, 32), 480, 640).variant == "scalar"


def test_sums_that_do_not_fit_32_bits_run_in_64():
    """4001 x 3001 to 13 x 7 share no divisor: 255 * 4001 * 3001 is beyond 2^31."""
    frame = np.full((3001, 4001, 3), 255, np.uint8)
    spec = InputSpec(7, 13, resize="area")
    out = spec.empty()
    kernel = Preprocessor(spec, 3001, 4001)
    kernel.run(frame, out)
    assert kernel.variant == "scalar"
    assert np.abs(out - 1).max() < 1e-6


def test_a_new_box_is_a_new_plan():
    """Boxes follow each other on one kernel and leave nothing behind."""
    frame = noise("BGR", 120, 160)
    spec = InputSpec(32, 32, resize="area", fit="letterbox", pad=77)
    kernel, out = Preprocessor(spec, 120, 160), spec.empty()
    for box in [(0, 0, 160, 120), (3, 5, 20, 31), (159, 119, 1, 1), None, (10, 10, 100, 9)]:
        found = kernel.run(frame, out, box)
        fresh, health = run(spec, frame, "BGR", box)
        assert np.array_equal(out[0], fresh)
        assert found.content_hash == health.content_hash


def test_statistics_can_be_off():
    frame = noise("BGR", 48, 64)
    spec = InputSpec(20, 20, resize="bilinear")
    want, _ = run(spec, frame, "BGR")
    found, health = run(spec, frame, "BGR", statistics=False)
    assert np.array_equal(found, want)
    assert (health.pixels, health.content_hash, health.mean) == (0, 0, 0.0)
    assert 0 < health.share_read < 1
