# SPDX-License-Identifier: Apache-2.0
"""Calibration counts votes in numpy; the core decides. Both must agree on random ballots."""

from __future__ import annotations

import numpy as np

from edgeguard import _core, _kernels
from edgeguard.evidence import selective

CLASSES, WIDE = 4, 1000 * 65536
CAUSE = {"severity": 0, "clears": 0, "asks_operator": 0, "on_us": 0, "off_us": 0}


def policy(granted, certainty, quorum):
    """One channel; a member without the grant to raise may still lower. Label k means k + 1."""
    demand = {"certainty": certainty, "quorum": quorum, "frames": 1}
    row = {"at": 0, "min": 0, "max": WIDE, "rise": 65536, "fall": 65536}
    scores = {
        "n": CLASSES, "dtype": "f32", "scale": 1.0, "zero_point": 0, "kind": "logits",
        "temperature": 1.0, "value_min": 0.0, "value_max": 0.0,
    }  # fmt: skip
    member = {
        "kind": 0, "modes": 15, "deadline_us": 10**6, "max_age_us": 10**6, "max_rail": 9,
        "min_distinct": 1, "camera": 255,
        "sum_min": 0, "sum_max": WIDE, "scores": scores,
    }  # fmt: skip
    causes = [dict(CAUSE) for _ in _core.CAUSES]
    strict = {"severity": 3, "clears": 1}
    for name in ("NOT_ARMED", "CONTROLLER_LOST"):
        causes[_core.CAUSES.index(name)].update(strict)
    for name in ("STALE_MODEL", "TIME_FAULT", "FRAME_LOST"):
        causes[_core.CAUSES.index(name)]["severity"] = 2
    return _core.Policy({
        "period_us": 10_000, "max_gap_us": 100_000, "controller_budget_us": 2000,
        "standstill_signal": 0, "standstill_below": 6554, "causes": causes,
        "cameras": [],
        "signals": [{"name": "speed", "min": 0, "max": WIDE}],
        "members": [
            {**member, "name": f"m{i}", "may": 3 if may else 2} for i, may in enumerate(granted)
        ],
        "channels": [{
            "name": "target", "kind": 0, "measured": 255, "table_signal": 255, "stop": 0,
            "manoeuvre": 0, "dispersion": 0, "raise": demand, "lower": demand, "rows": [row],
            "degraded_rows": [row],
        }],
        "labels": [{"channel": 0, "value": (k + 1) * 65536} for k in range(CLASSES)],
        "detectors": [],
    })  # fmt: skip


REFUSED = {"STALE_MODEL", "DISAGREEMENT", "LOW_CERTAINTY", "OPERATION_DENIED"}


def decided(scores, granted, certainty, quorum):
    """(winner, accepted) as the core has it, from a stand."""
    core = _core.Core(policy(granted, certainty, quorum))
    core.arm()
    for i, row in enumerate(scores):
        core.suggest(i, row, 0, 0)
    decision = core.decide({"speed": 0.0, "engaged": 1.0}, {"target": 0.0}, 0, 1000)
    return decision.evidence["target"]["label"], not REFUSED & set(decision.present)


def test_calibration_accepts_what_the_core_accepts():
    rng = np.random.default_rng(8)
    accepted = 0
    for _ in range(600):
        members = int(rng.integers(1, 6))
        scores = rng.normal(0, 1.5, (members, CLASSES)).astype(np.float32)
        scores[:, rng.integers(CLASSES)] += rng.uniform(0, 4)  # so that they often agree
        scores[rng.random(members) < 0.15] = np.nan  # and sometimes abstain
        granted = rng.random(members) < 0.8
        if not granted.any():
            continue
        quorum = int(rng.integers(1, granted.sum() + 1))
        found = _kernels.evidence_batch(scores)
        seen = np.sort(found["certainty"])
        certainty = int(rng.choice([*seen, *(seen + 1)]).clip(1, 65536))
        votes = selective.vote(
            found["label"][None].astype(np.int64),
            found["certainty"][None].astype(np.int64),
            granted,
            quorum,
        )
        winner, takes = decided(scores, granted, certainty, quorum)
        assert winner == votes.winner[0]
        assert takes == (votes.level[0] >= certainty)
        accepted += takes
    assert 100 < accepted < 500  # both answers occur
