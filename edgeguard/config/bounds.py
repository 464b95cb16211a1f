# SPDX-License-Identifier: Apache-2.0
"""How long each cause takes at most from the first evidence to the safe command."""

from __future__ import annotations

from attrs import frozen

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
    if cause == "STALE_MODEL":
        return max(m.max_age_ms for m in members)
    if cause == "LATE":
        return max(m.deadline_ms for m in members)
    if cause == "FRAME_LOST":
        return max((c.max_age_ms for c in cameras), default=0.0)
    if cause == "FROZEN_INPUT":  # the next frame shows whether the picture repeats
        return max((1000.0 / c.rate_hz for c in cameras), default=0.0)
    if cause == "CONTROLLER_LOST":
        return cfg.controller.budget_ms
    return 0.0
