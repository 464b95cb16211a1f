# SPDX-License-Identifier: Apache-2.0
"""The embedding kernels against scikit-learn and plain numpy, and what is fitted for them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from sklearn.covariance import ShrunkCovariance
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from edgeguard import _kernels
from edgeguard.card import Output
from edgeguard.config.vocabulary import EMBEDDING_FEATURES
from edgeguard.errors import ConfigError
from edgeguard.evidence import embedding
from edgeguard.evidence.embedding import SHRINKAGE, fit, kernel_fit, read, to_bytes

N, CLASSES, SIZE = 600, 5, 24
FLOAT = Output("embedding", "float32", "embedding", SIZE)
INT8 = Output("embedding", "int8", "embedding", SIZE, 0.05, -128)


@pytest.fixture(scope="module")
def known():
    """Five classes in a plane of 8 directions, and a little of everything: x [N, n], y [N]."""
    rng = np.random.default_rng(0)
    y = np.arange(N) % CLASSES
    means = rng.normal(0, 3, (CLASSES, 8))
    x = (means[y] + rng.normal(0, 1, (N, 8))) @ rng.normal(0, 1, (8, SIZE))
    return x + rng.normal(0, 0.1, (N, SIZE)) + 5.0, y


@pytest.fixture(scope="module")
def seen(known):
    """What is to be judged: some known, some strange; float32 [M, n] and energies [M]."""
    rng = np.random.default_rng(1)
    x = np.concatenate([known[0][:50], rng.normal(5, 8, (50, SIZE))]).astype(np.float32)
    return x, rng.normal(-8, 3, len(x))


def run(feature, arrays, output, raw, energy):
    return _kernels.embedding_batch(raw, kernel_fit(feature, output, arrays), energy)


def squared_mahalanobis(x, mean, centred):
    found = ShrunkCovariance(shrinkage=SHRINKAGE, assume_centered=True).fit(centred)
    away = x - mean
    return np.einsum("ij,jk,ik->i", away, found.precision_, away)


def test_mahalanobis_is_that_of_the_nearest_class(known, seen):
    (x, y), (raw, energy) = known, seen
    means = np.stack([x[y == c].mean(0) for c in range(CLASSES)])
    want = np.min([squared_mahalanobis(raw, m, x - means[y]) for m in means], axis=0)
    got = run("mahalanobis", fit("mahalanobis", x, y, np.ones(N)), FLOAT, raw, energy)
    assert got == pytest.approx(want, rel=2e-3, abs=1e-2)
    relative = run(
        "relative_mahalanobis", fit("relative_mahalanobis", x, y, np.ones(N)), FLOAT, raw, energy
    )
    common = squared_mahalanobis(raw, x.mean(0), x - x.mean(0))
    assert relative == pytest.approx(want - common, rel=2e-3, abs=0.5)


def test_nearest_is_the_distance_on_the_sphere(known, seen):
    (x, y), (raw, energy) = known, seen
    arrays = fit("nearest", x, y, np.ones(N))
    u = (raw - arrays["centre"]) @ arrays["projection"].T.astype(np.float64)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    assert np.linalg.norm(arrays["points"], axis=1) == pytest.approx(1.0, abs=1e-5)
    near = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(arrays["points"])
    want = near.kneighbors(u)[0][:, 0] ** 2
    assert run("nearest", arrays, FLOAT, raw, energy) == pytest.approx(want, abs=1e-4)


def test_vim_is_the_rest_that_the_main_directions_leave(known, seen):
    (x, y), (raw, energy) = known, seen
    pca = PCA(SIZE // 2).fit(x)
    largest = np.full(N, 7.0)
    rest = np.linalg.norm(x - pca.inverse_transform(pca.transform(x)), axis=1)
    weight = 7.0 / rest.mean()
    away = np.linalg.norm(raw - pca.inverse_transform(pca.transform(raw)), axis=1)
    got = run("vim", fit("vim", x, y, largest), FLOAT, raw, energy)
    assert got == pytest.approx(weight * away + energy, rel=1e-2, abs=0.5)


@pytest.mark.parametrize("feature", EMBEDDING_FEATURES)
def test_the_strange_is_further_away_than_the_known(known, seen, feature):
    (x, y), (raw, _) = known, seen
    got = run(feature, fit(feature, x, y, np.ones(N)), FLOAT, raw, np.zeros(len(raw)))
    assert np.median(got[50:]) > got[:50].max()


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("feature", EMBEDDING_FEATURES)
def test_quantized_embeddings_are_read_as_what_they_stand_for(known, dtype, feature):
    x, y = known
    output = Output("embedding", dtype, "embedding", SIZE, 0.25, 3)
    info = np.iinfo(dtype)
    raw = np.clip(np.rint(x / 0.25) + 3, info.min, info.max).astype(dtype)
    real = embedding.real(raw, output)
    assert real == pytest.approx(0.25 * (raw.astype(float) - 3))
    arrays = fit(feature, real, y, np.ones(N))
    energy = np.linspace(-9, 0, N)
    want = run(feature, arrays, FLOAT, real.astype(np.float32), energy)
    assert run(feature, arrays, output, raw, energy) == pytest.approx(want, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("feature", EMBEDDING_FEATURES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_stay_visible(known, feature, bad):
    x, y = known
    raw = x[:1].astype(np.float32).copy()
    raw[0, 7] = bad
    got = run(feature, fit(feature, x, y, np.ones(N)), FLOAT, raw, np.zeros(1))
    assert not np.isfinite(got[0])


def test_an_embedding_of_zeros_is_no_division_by_zero(known):
    x, y = known
    arrays = fit("nearest", x, y, np.ones(N))
    got = run("nearest", arrays, FLOAT, arrays["centre"][None], np.zeros(1))
    assert got[0] == pytest.approx(1.0, abs=1e-4)  # as far as the centre is from a unit vector


def test_arrays_that_do_not_fit_are_refused(known, seen):
    (x, y), (raw, energy) = known, seen
    arrays = fit("nearest", x, y, np.ones(N))
    for wrong in (
        {"centre": arrays["centre"][:-1]},
        {"points": arrays["points"][:0]},
        {"points": arrays["points"].ravel()[:-1]},
        {"projection": arrays["projection"].ravel()[:-1]},
    ):
        with pytest.raises(ValueError, match="do not fit"):
            run("nearest", {**arrays, **wrong}, FLOAT, raw, energy)
    with pytest.raises(ValueError, match="fitted type"):
        run("nearest", arrays, INT8, raw, energy)
    with pytest.raises(ValueError, match="more than that"):
        fit("vim", x[:SIZE], y[:SIZE], np.ones(SIZE))


def test_vim_of_scores_that_are_no_logits_is_refused(known):
    """Of log-probabilities the largest is at most 0: far embeddings would get small numbers."""
    x, y = known
    with pytest.raises(ValueError, match="LogSoftmax"):
        fit("vim", x, y, np.full(N, -0.01))


@pytest.mark.parametrize("feature", EMBEDDING_FEATURES)
def test_an_embedding_that_explodes_is_within_no_limit(known, feature):
    x, y = known
    raw = np.full((1, SIZE), 1e25, np.float32)
    arrays = fit(feature, x, y, np.ones(N))
    assert not run(feature, arrays, FLOAT, raw, np.zeros(1))[0] < 1e30


def test_the_file_gives_back_what_went_in_and_nothing_else(known, tmp_path):
    x, y = known
    fits = {("m", f): fit(f, x, y, np.ones(N)) for f in EMBEDDING_FEATURES}
    data = to_bytes(fits)
    assert data == to_bytes(dict(reversed(fits.items())))
    path = tmp_path / "calibration.npz"
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    back = read(path, digest)
    assert back.keys() == fits.keys()
    for key, arrays in fits.items():
        assert all((back[key][name] == a).all() for name, a in arrays.items())
    for i in range(0, len(data), 997):
        path.write_bytes(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        with pytest.raises(ConfigError, match="is not the file"):
            read(path, digest)
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "none.npz", digest)


class Swapped(type(Path())):
    """A file that somebody exchanges as soon as it was read."""

    def read_bytes(self):
        data = super().read_bytes()
        self.write_bytes(to_bytes({("m", "nearest"): {"centre": np.zeros(SIZE, np.float32)}}))
        return data


def test_what_is_used_is_what_was_hashed(tmp_path):
    data = to_bytes({("m", "nearest"): {"centre": np.ones(SIZE, np.float32)}})
    path = Swapped(tmp_path / "calibration.npz")
    path.write_bytes(data)
    back = read(path, hashlib.sha256(data).hexdigest())
    assert (back["m", "nearest"]["centre"] == 1.0).all()
