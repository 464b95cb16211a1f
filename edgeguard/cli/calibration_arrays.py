# SPDX-License-Identifier: Apache-2.0
"""What `edgeguard calibrate` fits besides single numbers: associations, embeddings, risk blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.card import Card
from edgeguard.config import GuardConfig
from edgeguard.config import vocabulary as words
from edgeguard.config.calibration import OF_DETECTOR
from edgeguard.config.fixed import ONE
from edgeguard.errors import ConfigError
from edgeguard.evidence import associations, embedding, risk
from edgeguard.evidence.boxes import Boxes
from edgeguard.evidence.calibration import Calibration
from edgeguard.evidence.conformal import UNREADABLE, Debounce, UnsupportedWishError

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
CALIBRATED = "calibrated"


def has_risk(cfg: GuardConfig) -> bool:
    """Whether the guard watches its detectors over time."""
    return any(d.kind == "risk" for d in cfg.detectors.values())


def wished_associations(
    cfg: GuardConfig, policy: Mapping[str, Any], rate: float | None
) -> list[associations.Wish]:
    """The associations with something to fit, or all of them for the risk. ``policy`` may be a
    provisional one, and ``cfg`` still say "calibrated"."""
    found = []
    for name, detector in cfg.detectors.items():
        find = tuple(k for k in OF_DETECTOR if getattr(detector, k) == CALIBRATED)
        if detector.kind != "association" or not (find or has_risk(cfg)):
            continue
        row = next(r for r in policy["detectors"] if r["name"] == name)
        cause = policy["causes"][row["cause"]]
        found.append(
            associations.Wish(
                name=name,
                spec=row["association"],
                operands=detector.between,
                ranges=_ranges(policy["signals"], row["association"])[: len(detector.between)],
                find=find,
                debounce=Debounce(cause["on_us"], cause["off_us"]),
                max_false_trips_per_hour=rate or detector.max_false_trips_per_hour or 0.0,
            )
        )
    return found


def _ranges(
    signals: Sequence[Mapping[str, int]], spec: Mapping[str, Any]
) -> tuple[tuple[int, int] | None, ...]:
    """Of both operands: the ends in Q16.16 that a signal is declared with, None of others."""
    return tuple(
        (signals[spec[side]]["min"], signals[spec[side]]["max"])
        if spec[f"{side}_kind"] == "signal"
        else None
        for side in ("a", "b")
    )


def fit_associations(
    found: Calibration, wishes: Sequence[associations.Wish],
    stretches: Sequence[associations.Stretch], period_us: int,
) -> None:  # fmt: skip
    """Add lines, limits and residuals. Raises ConfigError, UnsupportedWishError."""
    refused: list[str] = []
    for wish in wishes:
        try:
            made = associations.calibrate(stretches, wish, period_us)
        except UnsupportedWishError as error:
            refused.append(f"detector.{wish.name}: {error}")
            continue
        found.line[wish.name] = made.line
        found.limit.update({(wish.name, side): limit for side, limit in made.limit.items()})
        found.tracks[wish.name] = made.tracks
    if refused:
        raise UnsupportedWishError("\n".join(refused), 0.0)


Fits = dict[tuple[str, str], dict[str, Array]]


def fit_embeddings(
    cfg: GuardConfig, cards: Mapping[str, Card], embeddings: Mapping[str, Array],
    scores: Mapping[str, Array], y: Ints,
) -> Fits:  # fmt: skip
    """Fit every embedding detector: raw embeddings [N, n] and scores [N, c] by member, y [N]."""
    fits: Fits = {}
    for name, detector in cfg.detectors.items():
        key = detector.member or "", detector.feature or ""
        if detector.kind != "embedding" or key in fits:
            continue
        member, feature = key
        output = cards[member].embedding
        assert output is not None  # see config.cards
        x = embedding.real(embeddings[member], output)
        largest = embedding.real(scores[member], cards[member].scores).max(1)
        try:
            fits[key] = embedding.fit(feature, x, y, largest)
        except ValueError as error:
            raise ConfigError(f"{cfg.source}: detector.{name}: {error}") from None
    return fits


def distances(
    output: Any, fit: Mapping[str, Array], feature: str, embeddings: Array
) -> Callable[[Array], Ints]:
    """From evidence [N] to the numbers of these embeddings [N], in Q16.16."""

    def number_of(evidence: Array) -> Array:
        from edgeguard import _kernels

        if feature == words.BOXES:
            return Boxes(output, fit).of_all(embeddings, evidence["label"])
        energy = evidence["energy"] / ONE
        made = embedding.kernel_fit(feature, output, fit)
        return _kernels.embedding_batch(embeddings, made, energy)

    def measure(evidence: Array) -> Ints:
        number = number_of(evidence)
        readable = np.isfinite(number) & (np.abs(number) < words.MOST_NUMBER)
        q16 = np.rint(np.where(readable, number, 0.0) * ONE).astype(np.int64)
        return np.where(readable, q16, UNREADABLE)

    return measure


def risk_blocks(
    cfg: GuardConfig, found: Calibration, policy: Mapping[str, Any], rate_hz: float
) -> Fits:
    """Block scores of every detector whose numbers are known, where the guard asks for a risk, and
    the limits [2] that they were measured from."""
    if not has_risk(cfg):
        return {}
    fits: Fits = {}
    for row in policy["detectors"]:
        name = row["name"]
        if name not in found.tracks:
            continue
        of_log = cfg.detectors[name].kind == "association"
        per_s = 1e6 / policy["period_us"] if of_log else rate_hz
        least, most = _limits(row, found)
        limits = risk.Limits.of(least, most)
        blocks = risk.block_scores(found.tracks[name], limits, round(risk.BLOCK_S * per_s))
        if len(blocks) == 0:
            raise ConfigError(
                f"{cfg.source}: detector.{name}: its tracks are shorter than a block of the risk "
                f"({risk.BLOCK_S:g} s); give longer ones"
            )
        fits[name, "risk"] = {"blocks": blocks, "limits": np.array([least, most], np.int64)}
    return fits


def _limits(row: Mapping[str, Any], found: Calibration) -> tuple[int, int]:
    """The least and the most in Q16.16, as the core compares them."""
    ends = {"below": row["min"], "above": row["max"]}
    for side in ends:
        if (row["name"], side) in found.limit:
            ends[side] = found.limit[row["name"], side].value
    return ends["below"], ends["above"]
