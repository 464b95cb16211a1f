# SPDX-License-Identifier: Apache-2.0
"""Many injections, in several processes; each is its seed's and nobody else's."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from edgeguard.config import GuardConfig, load
from edgeguard.streams.campaign.case import Case, Fault
from edgeguard.streams.campaign.registry import FAULTS

BY_ID = {fault.id: fault for fault in FAULTS}
_loaded: dict[Path, GuardConfig] = {}


def inject(
    fault: Fault, index: int, seed: int, config: GuardConfig, runs: GuardConfig | None = None
) -> dict[str, Any]:
    """One injection, the same every time.

    runs: another policy that the guard has in truth; it is judged by `config` all the same.
    """
    case = Case(fault, index, config, Random(f"{seed}/{fault.id}/{index}"), runs or config)
    try:
        fault.inject(case)
    finally:
        case.close()
    return case.row()


def chunk(fault: str, indices: list[int], seed: int, policy: Path) -> list[dict[str, Any]]:
    """Some injections of one fault, in a process that has read the policy once."""
    if policy not in _loaded:
        _loaded[policy] = load(policy)
    return [inject(BY_ID[fault], i, seed, _loaded[policy]) for i in indices]
