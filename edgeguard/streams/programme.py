# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in the demo, and where: one event to a track, undisturbed tracks between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeguard.streams.faults import (
    Blackout,
    Event,
    Fault,
    Kill,
    NaNScores,
    Perturbed,
    Repeat,
    Stopped,
)
from edgeguard.streams.stream import Attack, SignStream


@dataclass(frozen=True)
class Entry:
    """An event of the programme: its name in figures, what a person reads, and where it happens."""

    name: str
    title: str
    event: Event


def programme(stream: SignStream) -> list[Entry]:
    """The demo's events, in driving order: those whose tracks are in the stream."""
    per_track, present = stream.per_track, {track.key for track in stream.tracks}
    planned: Sequence[tuple[str, str, Fault, tuple[int, int]]] = (
        ("nan", "NaN in the scores of plain", NaNScores(per_track), (36, 4)),
        ("blackout", "blackout", Blackout(per_track), (3, 28)),
        ("frozen", "frozen camera, new stamps", Repeat(per_track, True), (4, 62)),
        ("killed", "process of plain killed", Kill(), (5, 60)),
        ("late", "process of plain stopped for 1.6 s", Stopped(16), (7, 22)),
        *((*_titles(a, stream), Perturbed(per_track, a), a.key) for a in stream.attacks),
    )
    entries = [
        Entry(name, title, Event(fault, stream.where(key) * per_track))
        for name, title, fault, key in planned
        if key in present
    ]
    return sorted(entries, key=lambda entry: entry.event.start)


def _titles(attack: Attack, stream: SignStream) -> tuple[str, str]:
    sign = attack.key[0]
    how = f"PGD at {attack.radius}/255" if attack.kind == "pgd" else "stickers"
    return f"{attack.kind}.class{sign}", f"{how}, static attack: {stream.name(sign)}"
