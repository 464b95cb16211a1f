# SPDX-License-Identifier: Apache-2.0
"""The matrix: every fault and attack, driven without the guard, with it, and with one of its
detectors removed; one row for each drive.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from attrs import evolve, frozen

from edgeguard import config
from edgeguard.config import GuardConfig
from edgeguard.config.schema import Channel
from edgeguard.streams.loops.drive import drive
from edgeguard.streams.loops.fault import Fault, Make, Moment
from edgeguard.streams.loops.faults import FRAMES, cable_cut
from edgeguard.streams.loops.members import MEMBERS
from edgeguard.streams.loops.patch import PATCHES, patch
from edgeguard.streams.loops.pursuit import CAREFUL, Style
from edgeguard.streams.loops.racing import Racing
from edgeguard.streams.loops.steers import Said, opened
from edgeguard.streams.loops.tracks import TEST
from edgeguard.streams.loops.vehicle import Vehicle

Row = dict[str, Any]
EDITION = 5
"""Of the rows and of what a cell is: rows of another one are not used again."""
ABLATED = "without "
REMOVABLE = {
    "members against rule": ("apart_grey", "apart_colour", "apart_hard"),
    "path": ("left", "aims"),
    "image": ("light", "contrast", "sharpness"),
    "freeze": ("FROZEN_INPUT",),
    "dispersion": ("DISAGREEMENT",),
}
"""What an ablation takes away: detectors, or a cause."""
ATTACKS = (
    *(f"pgd {who} {r}" for who in ("one", "all") for r in (2, 4, 8, 16)),
    "flips one", "flips all",
)  # fmt: skip
"""Cells whose faults the lab makes: they need gradients, or the models' bytes."""
TAKEN = ("freeze", "blackout", "flash", "NaN all", "kill all", "link cut")
"""Cells in which the networks cannot go on: somebody has to take over, in three frames at most."""
ALLOWED = ("NaN one", "kill one")
"""Cells in which two of three members may go on without one: a takeover is of another cause."""
PROMPT = (*TAKEN, *ALLOWED)
"""Cells that may not be among those that the guard misses."""

BARE = {"on": "off", "mcu": "off slow"}
"""Who drives with a guard, and the same drive without one."""
SLOW = ("off slow", "mcu")
"""Modes at the pace from which a stop without a map ends on the road."""
MOST_STEPS, MOST_SLOW = 2000, 10_000
CUT = "link cut"
"""A cell that only a microcontroller has: driven with it, whatever is asked for."""

CELLS: dict[str, Make] = {
    "clean": lambda seed: Fault(),
    **FRAMES,
    **MEMBERS,
    CUT: cable_cut,
}
NAMES = (*CELLS, *PATCHES, *ATTACKS)


@frozen
class Job:
    """One drive."""

    policy: Path
    cell: str
    mode: str
    """One of "off", "on", those of SLOW, or "without " and a key of REMOVABLE."""
    index: int
    """Of the test track."""

    @property
    def key(self) -> str:
        """Of its rows in the store."""
        return f"{self.cell}/{self.mode}"


def jobs(policy: Path, cells: Sequence[str], modes: Sequence[str], tracks: int) -> list[Job]:
    """All drives that are asked for, track by track, so that whoever stops early has all cells."""
    return [
        Job(policy, cell, mode, index)
        for index in range(tracks)
        for cell in cells
        for mode in (SLOW if cell == CUT else modes)
    ]


class Watching(Protocol):
    """Who looks on, and sees the frames on their way."""

    def through(self, fault: Fault) -> Fault: ...
    def __call__(self, moment: Moment, said: Said, vehicle: Vehicle) -> None: ...


def run(job: Job, watching: Watching | None = None) -> Row:
    """Drive. The same job gives the same row."""
    loaded = ablated(config.load(job.policy), job.mode)
    seed = TEST[job.index]
    guard, steers = opened(loaded, job.mode, seed)
    fault = make_fault(job.cell, heeded(loaded, job.mode))(seed)
    slow = job.mode in SLOW
    vehicle = Racing(seed, most_steps=MOST_SLOW if slow else MOST_STEPS)
    seen = watching.through(fault) if watching else fault
    style = CAREFUL if slow else Style()
    found = drive(vehicle, steers, seed, seen, watch=watching, style=style)
    vehicle.close()
    guard.close()
    return {
        "f": job.key, "i": job.index, "cell": job.cell, "mode": job.mode, "lap": found.finished,
        "off": found.off, "steps": found.steps, "deviation_m": round(found.deviation_m, 2),
        "ruled": found.ruled, "held": found.held, "trips": found.trips, "trip": found.trip,
        "safe": found.safe, "unanswered": sum(onset.unanswered for onset in found.onsets),
        "onsets": len(found.onsets), "stops": found.stops, "note": fault.note,
        "behind_mps2": round(found.behind_mps2, 1), "reward": round(found.reward, 1),
        "jerk_mps3": round(found.jerk_mps3, 1), "causes": sorted(found.causes),
        "detectors": sorted(found.detectors),
    }  # fmt: skip


def make_fault(cell: str, against: GuardConfig) -> Make:
    """Of a cell; against: the policy that is driven, as an attacker has to heed it. Raises
    EdgeguardError for a cell that is not known."""
    if cell in CELLS:
        return CELLS[cell]
    if cell in PATCHES:
        return patch(cell, against.source.parent)
    from importlib import import_module  # the runtime does not know the lab

    made: Make = import_module("edgeguard.lab.attacks.driving").attack(cell, against)
    return made


def heeded(loaded: GuardConfig, mode: str) -> GuardConfig:
    """What an attacker has to heed who knows the guard: no detector where there is no guard."""
    return evolve(loaded, detectors={}) if mode in BARE.values() else loaded


def ablated(loaded: GuardConfig, mode: str) -> GuardConfig:
    """The policy without what an ablation removes."""
    if not mode.startswith(ABLATED):
        return loaded
    gone = REMOVABLE[mode.removeprefix(ABLATED)]
    detectors = {n: d for n, d in loaded.detectors.items() if n not in gone}
    causes = {
        n: evolve(c, severity="NOMINAL") if n in gone else c for n, c in loaded.causes.items()
    }
    channels = loaded.channels
    if "DISAGREEMENT" in gone:  # unheeded, it would still keep the votes from a command
        channels = {n: _agreed(c) for n, c in channels.items()}
    return evolve(loaded, detectors=detectors, causes=causes, channels=channels)


def _agreed(channel: Channel) -> Channel:
    """A channel whose mid value every member supports, however far off it is."""
    if channel.kind != "value":
        return channel
    return evolve(channel, dispersion=channel.range.high - channel.range.low)
