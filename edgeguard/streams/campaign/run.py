# SPDX-License-Identifier: Apache-2.0
"""Many injections, in several processes; each is its seed's and nobody else's."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

from attrs import evolve

from edgeguard import aside
from edgeguard.config import GuardConfig, load
from edgeguard.guard import Guard
from edgeguard.streams.campaign.case import Case
from edgeguard.streams.campaign.fault import Fault
from edgeguard.streams.campaign.outlive import outlived
from edgeguard.streams.campaign.puppets import meaning
from edgeguard.streams.campaign.registry import FAULTS
from edgeguard.streams.campaign.road import Road, road

ATTEMPTS = 10  # of an injection that keeps to the clock; what holds it up in all is no accident
BY_ID = {fault.id: fault for fault in FAULTS}


def inject(
    fault: Fault, index: int, seed: int, config: GuardConfig, runs: GuardConfig | None = None,
    seen: Road | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One injection: its moments and parameters are the same every time.

    runs: another policy that the guard has in truth; it is judged by `config` all the same. seen:
    what the cameras see, where the fault's world is that of workers. One that the machine held up
    is made again, `ATTEMPTS` times in all.
    """
    disturbed = 0
    while True:
        rng = Random(f"{seed}/{fault.id}/{index}")
        case = _case(fault, index, config, rng, runs or config, seen)
        try:
            fault.inject(case)
        except (Exception, SystemExit) as error:  # a guard that raises is what is looked for
            case.wrong(f"{type(error).__name__}: {error}")
        finally:
            case.close()
        disturbed += case.disturbed
        if disturbed == ATTEMPTS:
            case.wrong(f"the loop is held up in each of {ATTEMPTS} attempts")
        if not case.disturbed or disturbed == ATTEMPTS:
            row = case.row()
            return row | {"g": disturbed} if fault.alone else row


def _dead(fault: Fault, index: int, ending: str) -> dict[str, Any]:
    """The row of an injection that its process did not survive."""
    row = dict.fromkeys(("t", "c", "b", "r", "o"))
    why = [f"the deciding process was ended by {ending}"]
    return {"f": fault.id, "i": index, "k": "", "w": 1, "x": 0, **row, "why": why}


def _case(
    fault: Fault, index: int, config: GuardConfig, rng: Random, runs: GuardConfig,
    seen: Road | None,
) -> Case:  # fmt: skip
    if fault.world == "puppets":
        return Case(fault, index, config, rng, runs)
    from edgeguard.streams.campaign.live import LiveCase

    assert seen is not None
    return LiveCase(fault, index, config, rng, runs, road=seen)


@cache
def _loaded(policy: Path) -> GuardConfig:
    return load(policy)


@cache
def seen_by(policy: Path, pictures: Path) -> Road:
    """The road for this guard, looked at once by its own models. Raises EdgeguardError."""
    config = _loaded(policy)
    members = {n: evolve(m, isolation="process", process="p") for n, m in config.members.items()}
    with Guard(evolve(config, members=members)) as guard:
        guard.arm()
        return road(guard, meaning(config), pictures)


def chunk(
    fault: str, indices: list[int], seed: int, policy: Path, pictures: Path | None = None
) -> list[dict[str, Any]]:
    """Some injections of one fault, in a process that has read the policy once."""
    found, config, seen = BY_ID[fault], _loaded(policy), None
    with aside.quiet():
        if found.world == "workers" and pictures is not None:
            seen = seen_by(policy, pictures)
        return outlived(
            lambda i: inject(found, i, seed, config, seen=seen), indices, partial(_dead, found)
        )
