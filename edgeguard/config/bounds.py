# SPDX-License-Identifier: Apache-2.0
"""How long each cause takes at most from the first evidence to the safe command."""

from __future__ import annotations

from attrs import frozen

from edgeguard.config.detector_rows import MAX_AGE_MS
from edgeguard.config.schema import GuardConfig
from edgeguard.config.vocabulary import CAUSES

FLAPPING = 10  # a fault present more than 20 % of any window of 10 * on_ms acts within it


@frozen
class Bound:
    """Milliseconds. `evidence_ms` passes before an age or a deadline is evidence at all."""

    evidence_ms: float
    constant_ms: float
    flapping_ms: float


def bounds(cfg: GuardConfig) -> dict[str, Bound]:
    """The bound of every cause, counted from the first evidence, two control periods included."""
    periods = 2 * cfg.guard.period_ms
    return {
        name: Bound(
            _evidence_ms(cfg, name),
            cfg.causes[name].on_ms + periods,
            FLAPPING * cfg.causes[name].on_ms + periods,
        )
        for name in CAUSES
    }


def _evidence_ms(cfg: GuardConfig, cause: str) -> float:
    """What the policy waits before it calls something stale, late or lost."""
    members, cameras = cfg.members.values(), cfg.cameras.values()
    buses = [d for d in cfg.detectors.values() if d.kind == "bus"]
    waits: dict[str, list[float]] = {
        "STALE_MODEL": [m.max_age_ms for m in members],
        "MEMBER_LOST": [m.max_age_ms for m in members],  # silent; a dead process shows at once
        "LATE": [m.deadline_ms for m in members],
        "FRAME_LOST": [c.max_age_ms for c in cameras],
        "FROZEN_INPUT": [1000.0 / c.rate_hz for c in cameras],  # the next frame shows whether
        "BUS_INTRUSION": [d.max_age_ms or MAX_AGE_MS for d in buses],  # silent, likewise
        "CONTROLLER_LOST": [cfg.controller.budget_ms],
    }
    return max(waits.get(cause, []), default=0.0)
