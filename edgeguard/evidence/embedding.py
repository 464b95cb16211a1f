# SPDX-License-Identifier: Apache-2.0
"""What the embedding kernel measures distances to: fitted offline on a member's embeddings.

Arrays, with n values of an embedding (native/kernels/embedding.hpp has the formulas): ``centre``
[n], ``projection`` [k, n], ``points`` [m, k], ``background`` [b, n], ``weight`` [1]; of boxes see
``boxes``. All of one guard.toml lie in one .npz under "MEMBER.FEATURE.ARRAY"; its SHA-256 stands in
the calibration file.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.card import Output
from edgeguard.config.vocabulary import BOXES, EMBEDDING_FEATURES
from edgeguard.errors import ConfigError

Array = npt.NDArray[Any]
Reals = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Fit = dict[str, Array]

DTYPES = {"float32": "f32", "int8": "i8", "uint8": "u8"}
WIDEST = 128  # directions that a projection keeps
CORESET = 256  # points that `nearest` looks through
SHRINKAGE = 0.01  # of a covariance towards its mean variance: int8 leaves some directions empty


def real(embeddings: Array, output: Output) -> Reals:
    """What raw embeddings [N, n] stand for."""
    if output.dtype == "float32":
        return embeddings.astype(np.float64)
    return output.scale * (embeddings.astype(np.float64) - output.zero_point)


def fit(feature: str, x: Reals, y: Ints, confidence: Reals) -> Fit:
    """Fit one feature: embeddings [N, n], labels [N], largest logits [N].

    Raises ValueError when there are fewer embeddings than values in one.
    """
    if len(x) <= x.shape[1]:
        raise ValueError(f"{len(x)} embeddings of {x.shape[1]} values; give more than that")
    if feature == BOXES:
        from edgeguard.evidence import boxes

        return boxes.fit(x, y)
    assert feature in EMBEDDING_FEATURES
    if feature == "vim":
        return _vim(x, confidence)
    return _nearest(x, y) if feature == "nearest" else _mahalanobis(feature, x, y)


def _whitening(centred: Reals) -> Reals:
    """Rows [k, n] under which these vectors have the covariance of white noise."""
    covariance = centred.T @ centred / len(centred)
    mean = np.trace(covariance) / len(covariance)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * mean * np.eye(len(covariance))
    variance, axes = np.linalg.eigh(covariance)
    rows: Reals = (axes / np.sqrt(variance)).T[:WIDEST]  # the narrowest: there the strange shows
    return rows


def _mahalanobis(feature: str, x: Reals, y: Ints) -> Fit:
    """Class means and the covariance within classes (Lee et al., NeurIPS 2018); relative: less the
    distance under the covariance of all (Ren et al. 2021)."""
    centre, classes = x.mean(0), np.unique(y)
    means = np.stack([x[y == c].mean(0) for c in classes])
    projection = _whitening(x - means[np.searchsorted(classes, y)])
    made = {"centre": centre, "projection": projection, "points": (means - centre) @ projection.T}
    if feature == "relative_mahalanobis":
        made["background"] = _whitening(x - centre)
    return _stored(made)


def _nearest(x: Reals, y: Ints) -> Fit:
    """Unit vectors of a coreset (Sun et al., ICML 2022): the same number of each class."""
    centre = x.mean(0)
    axes = np.linalg.eigh(np.cov((x - centre).T))[1][:, ::-1][:, : WIDEST // 2]
    units = (x - centre) @ axes
    units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
    classes = np.unique(y)
    each = max(1, CORESET // len(classes))
    points = np.concatenate([_spread(units[y == c], each) for c in classes])
    return _stored({"centre": centre, "projection": axes.T, "points": points})


def _spread(units: Reals, count: int) -> Reals:
    """So many means that stand for these vectors: k-means from a farthest-first start."""
    start = [int((units @ units.mean(0)).argmax())]
    near = 1 - units @ units[start[0]]
    while len(start) < min(count, len(units)):
        start.append(int(near.argmax()))
        near = np.minimum(near, 1 - units @ units[start[-1]])
    means = units[start]
    for _ in range(20):
        own = (units @ means.T).argmax(1)
        means = np.stack(
            [units[own == i].mean(0) if (own == i).any() else m for i, m in enumerate(means)]
        )
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return means


def _vim(x: Reals, confidence: Reals) -> Fit:
    """Virtual logit (Wang et al., CVPR 2022): what the main directions do not hold, scaled to the
    size of a largest logit."""
    centre = x.mean(0)
    axes = np.linalg.eigh(np.cov((x - centre).T))[1][:, ::-1][:, : x.shape[1] // 2]
    rest = np.linalg.norm((x - centre) - (x - centre) @ axes @ axes.T, axis=1)
    if not confidence.mean() > 0:
        raise ValueError(
            "vim wants logits whose largest one is positive on average; those of a model that ends"
            " in LogSoftmax are not"
        )
    weight = confidence.mean() / max(rest.mean(), 1e-12)
    return _stored({"centre": centre, "projection": axes.T, "weight": np.array([weight])})


def _stored(arrays: Mapping[str, Array]) -> Fit:
    return {name: np.ascontiguousarray(a, np.float32) for name, a in arrays.items()}


def kernel_fit(feature: str, output: Output, arrays: Mapping[str, Array]) -> dict[str, Any]:
    """What the kernels take: the arrays, and how the member's file stores an embedding."""
    made: dict[str, Any] = {
        "feature": feature, "n": output.size, "dtype": DTYPES[output.dtype],
        "scale": output.scale or 1.0, "zero_point": output.zero_point, **arrays,
    }  # fmt: skip
    if "weight" in made:
        made["weight"] = float(made["weight"][0])
    return made


def to_bytes(fits: Mapping[tuple[str, str], Fit]) -> bytes:
    """One .npz of all fits, by member and feature; the same fits give the same bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for (member, feature), arrays in sorted(fits.items()):
            for name, array in arrays.items():
                inner = io.BytesIO()
                np.save(inner, array, allow_pickle=False)
                entry = zipfile.ZipInfo(f"{member}.{feature}.{name}.npy")  # dated 1980
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, inner.getvalue())
    return file.getvalue()


def read(path: Path, sha256: str) -> dict[tuple[str, str], Fit]:
    """The fits of an .npz that must have this hash. Raises ConfigError."""
    from edgeguard.npz import read_npz

    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ConfigError(
            f"{path}: is not the file that the calibration was written with; run `edgeguard "
            "calibrate` again"
        )
    fits: dict[tuple[str, str], Fit] = {}
    for key, array in read_npz(path, data).items():
        member, feature, name = key.rsplit(".", 2)
        fits.setdefault((member, feature), {})[name] = array
    return fits


def wrong_fit(arrays: Mapping[str, Array] | None, output: Output) -> str | None:
    """What is wrong with the arrays of a feature for this output, in words."""
    if arrays is None:
        return "was not fitted"
    widths = [arrays[name].shape[-1:] for name in ("centre", "low", "high") if name in arrays]
    if set(widths) != {(output.size,)} or not all(
        np.isfinite(a).all() and a.dtype == np.float32 for a in arrays.values()
    ):
        return f"was not fitted to {output.size} values"
    return None
