# SPDX-License-Identifier: Apache-2.0
"""The evidence kernel against the definitions in float64 (scipy), and at its edges."""

from __future__ import annotations

import hashlib
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import entr, logsumexp, softmax

from edgeguard import _kernels

ONE = 65536
TINY = np.float32(np.finfo(np.float32).tiny)
DTYPES = {"f32": np.float32, "i8": np.int8, "u8": np.uint8}


def fixed(x):
    """Q16.16, saturated."""
    return np.clip(np.rint(np.asarray(x) * ONE), -(2.0**31), 2.0**31 - 1)


def real(raw, scale=1.0, zero_point=0):
    """What the raw scores stand for, -0 and denormals as 0."""
    if raw.dtype != np.float32:
        return np.float64(np.float32(scale)) * (raw.astype(np.float64) - zero_point)
    return np.where(np.abs(raw) < TINY, np.float32(0), raw).astype(np.float64)


def oracle(raw, kind="logits", scale=1.0, zero_point=0, temperature=1.0):
    """The fields of logits or probabilities as float64 [N], by their definitions."""
    x, t = real(raw, scale, zero_point), np.float64(np.float32(temperature))
    with np.errstate(divide="ignore"):
        z = x / t if kind == "logits" else np.log(np.clip(x, 0, 1)) / t
    nothing = np.all(np.isneginf(z), axis=1)
    z[nothing] = 0.0
    p = softmax(z, axis=1)
    mass = np.ones(len(x)) if kind == "logits" else np.clip(x.sum(1), 0, 1)
    order = np.sort(p, axis=1)
    second = order[:, -2] if x.shape[1] > 1 else 0.0
    return {
        "label": np.argmax(x, axis=1),
        "certainty": order[:, -1] * mass * ONE,
        "margin": (order[:, -1] - second) * mass * ONE,
        "entropy": fixed(entr(p).sum(1)),
        "energy": fixed(-t * logsumexp(x / t, axis=1)) if kind == "logits" else np.zeros(len(x)),
        "sum": fixed(np.ones(len(x)) if kind == "logits" else x.sum(1)),
    }


def assert_matches(raw, units=1.0, **spec):
    found = _kernels.evidence_batch(raw, **spec)
    for field, want in oracle(raw, **spec).items():
        if field == "label":
            assert np.array_equal(found[field], want)
        else:
            worst = np.abs(found[field] - want).max()
            assert worst <= units, (field, worst)
    assert not found["bad"].any()
    assert not found["value"].any()
    distinct = [min(3, len(np.unique(real(row)))) for row in raw]
    assert found["distinct"].tolist() == distinct
    upper = {np.dtype(np.int8): 127, np.dtype(np.uint8): 255}.get(raw.dtype, np.nan)
    assert found["rail"].tolist() == (raw == upper).sum(1).tolist()


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 43, 1001])
@pytest.mark.parametrize("temperature", [0.25, 1.0, 1.37, 8.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_logits_agree_with_the_definitions(n, temperature, dtype):
    rng = np.random.default_rng(n)
    if dtype == "f32":
        raw = (rng.normal(size=(200, n)) * rng.choice([0.01, 1, 10, 100], (200, 1))).astype("f4")
        spec = {}
    else:
        info = np.iinfo(DTYPES[dtype])
        raw = rng.integers(info.min, info.max + 1, (200, n)).astype(DTYPES[dtype])
        raw[::2] = info.min + (raw[::2] - info.min) // 8  # and flat ones
        spec = {"scale": 0.0837, "zero_point": 17}
    assert_matches(raw, temperature=temperature, **spec)


@pytest.mark.parametrize("n", [1, 2, 43, 1001])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_probabilities_agree_with_the_definitions(n, temperature, dtype):
    rng = np.random.default_rng(n)
    p = rng.dirichlet(np.full(n, 0.2), 200)
    if dtype == "f32":
        assert_matches(p.astype("f4"), kind="probabilities", temperature=temperature)
    else:
        zero_point = -128 if dtype == "i8" else 0
        raw = np.clip(np.rint(p * 256), 0, 255) + zero_point
        spec = {"scale": 1 / 256, "zero_point": zero_point, "temperature": temperature}
        assert_matches(raw.astype(DTYPES[dtype]), kind="probabilities", **spec)


@settings(max_examples=150, deadline=None)
@given(
    raw=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 60)),
        elements=st.floats(-60, 60, width=32) | st.sampled_from([0.0, -0.0, 30.0]),
    ),
    temperature=st.floats(0.125, 16.0, width=32),
)
def test_any_logits(raw, temperature):
    assert_matches(raw, temperature=temperature)


@settings(max_examples=100, deadline=None)
@given(
    raw=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 20)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    temperature=st.floats(2.0**-10, 2.0**10, width=32),
    kind=st.sampled_from(["logits", "probabilities", "value"]),
)
def test_extreme_scores_stay_within_the_bounds_of_each_field(raw, temperature, kind):
    found = _kernels.evidence_batch(raw, kind=kind, temperature=temperature)
    assert not found["bad"].any()
    assert ((found["certainty"] >= 0) & (found["certainty"] <= ONE)).all()
    assert ((found["margin"] >= 0) & (found["margin"] <= found["certainty"])).all()
    assert ((found["entropy"] >= 0) & (found["entropy"] <= fixed(np.log(20)) + 1)).all()
    if kind == "logits":
        want = oracle(raw, temperature=temperature)
        assert np.array_equal(found["label"], want["label"])
        assert np.abs(found["certainty"] - want["certainty"]).max() <= 1
        far = np.abs(want["energy"]) >= 2.0**31 - 1
        assert np.array_equal(found["energy"][far], want["energy"][far])


SPECIAL = {
    "nan": np.nan,
    "-nan": -np.nan,
    "inf": np.inf,
    "-inf": -np.inf,
    "max": np.finfo(np.float32).max,
    "-max": -np.finfo(np.float32).max,
    "-0": -0.0,
    "denormal": 1e-40,
    "-denormal": -1e-40,
}


@pytest.mark.parametrize("kind", ["logits", "probabilities", "value"])
@pytest.mark.parametrize("place", [0, 3, 42])
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name, place, kind):
    raw = np.linspace(0.01, 0.04, 43, dtype=np.float32)[None].copy()
    raw[0, place] = 0.0
    zero = _kernels.evidence_batch(raw, kind=kind)[0]
    raw[0, place] = SPECIAL[name]
    found = _kernels.evidence_batch(raw, kind=kind)[0]
    if np.isfinite(SPECIAL[name]):
        assert found["bad"] == 0 and found["label"] >= 0
        if abs(SPECIAL[name]) < TINY:
            assert found == zero
        elif kind == "probabilities":
            assert found["out_of_range"] == 1
    else:
        assert found["bad"] == 1 and found["label"] == -1
        assert all(found[f] == 0 for f in found.dtype.names if f not in ("bad", "label"))


@pytest.mark.parametrize("bits", [0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF])
def test_every_kind_of_nan_counts(bits):
    raw = np.zeros((1, 9), np.float32)
    raw.view(np.uint32)[0, [1, 8]] = bits
    found = _kernels.evidence_batch(raw)[0]
    assert (found["bad"], found["label"], found["certainty"]) == (2, -1, 0)


@pytest.mark.parametrize(
    "spec",
    [
        {"temperature": t}
        for t in (np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1e-40, 3.4e38, 1e-4, 2e3)
    ]
    + [{"scale": s} for s in (np.nan, np.inf, 0.0, -0.1, 1e-40)],
    ids=str,
)
@pytest.mark.parametrize("kind", ["logits", "probabilities", "value"])
def test_an_unusable_spec_says_nothing_usable(spec, kind):
    found = _kernels.evidence_batch(np.arange(5, dtype=np.int8)[None], kind=kind, **spec)[0]
    assert found["bad"] == 5 and found["label"] == -1 and found["certainty"] == 0


@pytest.mark.parametrize("zero_point", [-(2**31), -128, 0, 2**31 - 1])
@pytest.mark.parametrize("scale", [1.2e-38, 1.0, 3.4e38])
@pytest.mark.parametrize("kind", ["logits", "probabilities", "value"])
def test_extreme_quantization_saturates(zero_point, scale, kind):
    raw = np.array([[-128, 0, 127, 127]], np.int8)
    spec = {"scale": scale, "zero_point": zero_point, "kind": kind, "temperature": 2.0**-10}
    found = _kernels.evidence_batch(raw, **spec)[0]
    assert found["bad"] == 0
    assert found["label"] == (0 if kind == "value" else 2)
    assert 0 <= found["margin"] <= found["certainty"] <= ONE


def test_lowest_index_wins_a_tie_and_its_margin_is_zero():
    raw = np.array([[1, 5, 5, 2], [7, 7, 7, 7]], np.int8)
    for array in (raw, raw.astype(np.uint8), raw.astype(np.float32)):
        found = _kernels.evidence_batch(array)
        assert found["label"].tolist() == [1, 0]
        assert found["margin"].tolist() == [0, 0]
        assert found["distinct"].tolist() == [3, 1]


def test_negative_zero_ties_with_zero():
    found = _kernels.evidence_batch(np.array([[-0.0, 0.0], [0.0, -0.0], [-1e-40, 1e-39]], "f4"))
    assert found["label"].tolist() == [0, 0, 0]
    assert found["distinct"].tolist() == [1, 1, 1]


def test_mass_that_was_not_given_is_given_to_nobody():
    scores = np.array([[0.0, 0.01, 0.0], [0.9, 0.9, 0.0], [0.0, 0.0, 0.0], [0.7, 0.2, 0.1]], "f4")
    found = _kernels.evidence_batch(scores, kind="probabilities")
    assert found["certainty"].tolist() == pytest.approx([655, ONE / 2, 0, 0.7 * ONE], abs=1)
    assert found["sum"].tolist() == pytest.approx([655, 1.8 * ONE, 0, ONE], abs=1)
    assert found["entropy"][2] == pytest.approx(np.log(3) * ONE, abs=1)


def test_out_of_range_probabilities_are_counted_beyond_half_a_step():
    scores = np.array([[1.0000001, 0.0, -1e-6], [1.001, -0.001, 0.5]], "f4")
    assert _kernels.evidence_batch(scores, kind="probabilities")["out_of_range"].tolist() == [0, 2]
    whole = np.array([[255, 0]], np.uint8)  # 255 * float32(1/255) is more than 1
    assert _kernels.evidence_batch(whole, kind="probabilities", scale=1 / 255)["out_of_range"] == 0
    shifted = _kernels.evidence_batch(whole, kind="probabilities", scale=1 / 255, zero_point=2)
    assert shifted["out_of_range"] == 1


def test_continuous_outputs():
    raw = np.array([[-0.5], [1.25], [1e9], [-1e9]], np.float32)
    found = _kernels.evidence_batch(raw, kind="value", value_min=-1.0, value_max=1.0)
    assert found["value"].tolist() == [-ONE // 2, 5 * ONE // 4, 2**31 - 1, -(2**31)]
    assert found["out_of_range"].tolist() == [0, 1, 1, 1]
    assert found["label"].tolist() == [0] * 4
    assert found["certainty"].tolist() == found["margin"].tolist() == [ONE] * 4
    raw = np.array([[5], [127], [-128]], np.int8)
    found = _kernels.evidence_batch(
        raw, kind="value", scale=0.0083, zero_point=5, value_min=-1.0, value_max=1.0
    )
    assert found["value"].tolist() == pytest.approx(
        [0, 122 * 0.0083 * ONE, -133 * 0.0083 * ONE], abs=1
    )
    assert found["out_of_range"].tolist() == [0, 1, 1]
    assert found["rail"].tolist() == [0, 1, 0]


@pytest.mark.parametrize("bounds", list(itertools.product([np.nan, 2.0], [np.nan, 1.0])), ids=str)
def test_a_range_that_holds_nothing_leaves_every_value_outside(bounds):
    low, high = bounds
    raw = np.array([[1.5]], np.float32)
    found = _kernels.evidence_batch(raw, kind="value", value_min=low, value_max=high)
    assert found["out_of_range"].tolist() == [1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["logits", "probabilities", "value"])
def test_every_call_gives_the_same_bits(dtype, kind):
    rng = np.random.default_rng(3)
    raw = rng.integers(0, 128, (64, 43)).astype(DTYPES[dtype])
    spec = {"kind": kind, "scale": 0.1, "temperature": 1.7}
    first = _kernels.evidence_batch(raw, **spec)
    for _ in range(3):
        assert _kernels.evidence_batch(raw, **spec).tobytes() == first.tobytes()
    singly = np.concatenate([_kernels.evidence_batch(row[None].copy(), **spec) for row in raw])
    assert singly.tobytes() == first.tobytes()
    assert (
        _kernels.evidence_batch(pickle.loads(pickle.dumps(raw)), **spec).tobytes()
        == first.tobytes()
    )
    strided = np.asfortranarray(raw)
    assert _kernels.evidence_batch(strided, **spec).tobytes() == first.tobytes()


def test_arguments_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"\[N, n\]"):
        _kernels.evidence_batch(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"\[N, n\]"):
        _kernels.evidence_batch(np.zeros((3, 0), np.float32))
    with pytest.raises(TypeError, match="float32, int8 or uint8"):
        _kernels.evidence_batch(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="kind"):
        _kernels.evidence_batch(np.zeros((3, 3), np.float32), kind="boxes")
    assert _kernels.evidence_batch(np.zeros((0, 3), np.float32)).shape == (0,)


def test_every_build_gives_the_same_bits():
    """x86-64 with and without AVX, -O1, and aarch64 under qemu gave this hash."""
    state = np.arange(1, 64 * 43 + 1, dtype=np.uint64) * np.uint64(6364136223846793005)
    raw = (state >> np.uint64(56)).astype(np.uint8).reshape(64, 43)
    seen = hashlib.sha256()
    for kind, temperature in itertools.product(["logits", "probabilities", "value"], [0.7, 1.0]):
        for scores in (raw, raw.view(np.int8), raw.astype(np.float32) / 64):
            spec = {"kind": kind, "temperature": temperature, "scale": 1 / 256, "zero_point": 0}
            seen.update(_kernels.evidence_batch(scores, **spec).tobytes())
    assert seen.hexdigest() == "8f7d045e7de893308d43537dba7bd84b7d28995e4f8b6eae7b651498462df146"
