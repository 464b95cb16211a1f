# SPDX-License-Identifier: Apache-2.0
"""A moving picture: three attacks side by side, the bare networks above, the guard below, and under
each drive who commanded when, and why. Needs pillow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from attrs import define, evolve, field

from edgeguard.streams.loops.fault import Fault, Moment, Transform
from edgeguard.streams.loops.matrix import Job, Row, run
from edgeguard.streams.loops.pursuit import Pursuit
from edgeguard.streams.loops.steers import Said
from edgeguard.streams.loops.vehicle import U8, Vehicle

ATTACKS = ("dark 0.2", "freeze", "patch")
MODES = {"off": "no guard", "on": "guard"}
WINDOW = range(-75, 450, 6)
"""Steps around the onset that are shown, 8 pictures a second."""
WIDE, HIGH, BAR, TEXT = 160, 140, 10, 13
INSET = 48, 42
PICTURE_MS = 120
NETWORKS, RULE, GONE, NOTHING = (70, 170, 90), (235, 150, 40), (210, 50, 50), (60, 60, 66)
WHITE, BLACK = (240, 240, 240), (24, 24, 28)
Colour = tuple[int, int, int]


@define
class Film:
    """Watches one drive."""

    title: str
    pictures: list[U8] = field(factory=list)
    seen: list[U8] = field(factory=list)
    """What the networks saw."""
    who: list[Colour] = field(factory=list)
    why: list[str] = field(factory=list)
    _arrived: U8 | None = None
    _road: Pursuit | None = None

    def through(self, fault: Fault) -> Fault:
        """The same fault, with its frames looked at on their way."""
        inner = fault.frame
        return fault if inner is None else evolve(fault, frame=self._looking(inner))

    def _looking(self, inner: Transform) -> Transform:
        def look(frame: U8, moment: Moment) -> U8 | None:
            spoilt = inner(frame, moment)
            self._arrived = spoilt if moment.since >= 0 else frame
            return spoilt

        return look

    def __call__(self, moment: Moment, said: Said, vehicle: Vehicle) -> None:
        """After a step."""
        if self._road is None:
            self._road = Pursuit(vehicle.path)
        aside_m = self._road.lateral(vehicle.true_pose())  # the truth, as `Judge` has it
        if moment.since not in WINDOW:
            return
        off = abs(aside_m) > vehicle.half_width
        frame = vehicle.frame()
        self.pictures.append(frame)
        self.seen.append(frame if self._arrived is None else self._arrived)
        self.who.append(GONE if off else RULE if said.ruled else NETWORKS)
        causes = [c for c in said.causes if c != "OPERATION_DENIED"]
        self.why.append(causes[0] if said.ruled and causes else "")


def film(
    policy: Path, path: Path,
    shown: Callable[[Iterable[tuple[str, str]]], Iterable[tuple[str, str]]] = iter,
) -> list[Row]:  # fmt: skip
    """Drive, write the GIF, and return the drives' rows. shown: is given what is driven, and gives
    it back. Raises ModuleNotFoundError."""
    import_module("PIL")
    rows, films = [], {}
    for mode, cell in shown(list(product(MODES, ATTACKS))):
        films[mode, cell] = watching = Film(f"{cell}: {MODES[mode]}")
        rows.append(run(Job(policy, cell, mode, 0), watching))
    pictures = [_page(films, i) for i in range(len(WINDOW))]
    first, *others = (p.quantize(64) for p in pictures)
    first.save(path, save_all=True, append_images=others, duration=PICTURE_MS, loop=0)
    return rows


def _page(films: dict[tuple[str, str], Film], at: int) -> Any:
    image: Any = import_module("PIL.Image")
    pen: Any = import_module("PIL.ImageDraw")
    step = HIGH + TEXT + BAR + TEXT + 6
    page = image.new("RGB", (len(ATTACKS) * (WIDE + 6) + 6, len(MODES) * step + 6), BLACK)
    draw = pen.Draw(page)
    for row, mode in enumerate(MODES):
        for column, cell in enumerate(ATTACKS):
            corner = 6 + column * (WIDE + 6), 6 + row * step
            _panel(page, draw, films[mode, cell], at, corner)
    return page


def _panel(page: Any, draw: Any, shown: Film, at: int, corner: tuple[int, int]) -> None:
    """One drive: title, view with what the networks saw in a corner, who commanded so far."""
    image: Any = import_module("PIL.Image")
    x, y = corner
    now = min(at, len(shown.pictures) - 1)  # it ended earlier: the last picture stays
    draw.text((x, y), shown.title, fill=WHITE)
    top = y + TEXT
    page.paste(image.fromarray(shown.pictures[now]).resize((WIDE, HIGH), image.BILINEAR), (x, top))
    page.paste(image.fromarray(np.ascontiguousarray(shown.seen[now])).resize(INSET), (x, top))
    draw.rectangle((x, top, *np.add((x, top), INSET).tolist()), outline=WHITE)
    draw.rectangle((x, top, x + WIDE - 1, top + HIGH - 1), outline=shown.who[now], width=3)
    bar = top + HIGH + 2
    _timeline(draw, shown.who[: at + 1], (x, bar))
    first = next((why for why in shown.why[: at + 1] if why), "")
    draw.text((x, bar + BAR), first[:26], fill=RULE)


def _timeline(draw: Any, who: Sequence[Colour], corner: tuple[int, int]) -> None:
    x, y = corner
    draw.rectangle((x, y, x + WIDE - 1, y + BAR - 2), fill=NOTHING)
    for i, colour in enumerate(who):
        left, right = (x + round(k * WIDE / len(WINDOW)) for k in (i, i + 1))
        draw.rectangle((left, y, right - 1, y + BAR - 2), fill=colour)
    onset = x + round(sum(k < 0 for k in WINDOW) * WIDE / len(WINDOW))
    draw.line((onset, y - 1, onset, y + BAR - 2), fill=WHITE)
