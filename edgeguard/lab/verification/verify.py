# SPDX-License-Identifier: Apache-2.0
"""Verdicts on pictures: is the label the same for every 8-bit picture in the box around it?

In this order, each only for what is left: intervals and CROWN; an attack, judged by the deployed
file; CROWN with tighter bounds of the dense layers; mixed-integer programs. A label is certified if
its score is strictly the largest (a tie counts as not certified). What no method decides is
``unknown`` and counts as not certified. A certified picture is attacked as well (``broken`` counts
the certificates that fell: more than zero is an error of this package); so is a region of which
the file misreads a picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from edgeguard.lab.verification import crown, milp
from edgeguard.lab.verification.attack import Attack
from edgeguard.lab.verification.interval import Bounds, bounds
from edgeguard.lab.verification.net import Net, Steps
from edgeguard.lab.verification.pixels import U8, Pixels
from edgeguard.lab.verification.regions import clusters, hull
from edgeguard.lab.verification.runtime import Runtime

BATCH = 16


@dataclass(frozen=True)
class Effort:
    """How far to go. dense: tighten ``Steps`` layers of at most so many integers; milp_s: seconds
    for the programs of one picture and radius, 0 for none; most: integers of a program, whose
    start moves towards the scores until it fits; order: which neurons are whole first, "influence",
    "width", "file" or "all" (at once); shared: bounds and verdicts are shared across rivals and
    radii; regions: pictures of one class that differ by at most so many grey levels are tried as
    one region first, None for never."""

    dense: int = 512
    milp_s: float = 0.0
    most: int = 3000
    order: str = "influence"
    shared: bool = True
    regions: int | None = None
    attack: Attack = field(default_factory=Attack)


@dataclass(frozen=True)
class Verdict:
    """certified, falsified, unknown or wrong (the file misreads the picture itself), by which
    method, the seconds of it, and integers of an input that the file reads otherwise."""

    says: str
    by: str
    seconds: float
    input: Tensor | None = None


class Verifier:
    """Verdicts on one file."""

    def __init__(self, net: Net, runtime: Runtime, effort: Effort) -> None:
        self.net, self.runtime, self.effort = net, runtime, effort
        self.broken = 0

    def pictures(
        self, pixels: Pixels, x: U8, y: Tensor, radii: Sequence[int],
        tick: Callable[[int], None] = lambda n: None,
    ) -> list[dict[int, Verdict]]:  # fmt: skip
        """For each of pictures uint8 [N, H, W, C] with labels [N]: a verdict for each radius."""
        found: list[dict[int, Verdict]] = []
        known = self._by_regions(pixels, x, y, radii)
        for start in range(0, len(x), BATCH):
            part = slice(start, start + BATCH)
            boxes = {r: pixels.box(x[part], r) for r in radii}
            found += self.boxes(pixels.integers(x[part]), y[part], boxes, known[part])
            tick(len(x[part]))
        return found

    def _by_regions(self, pixels: Pixels, x: U8, y: Tensor, radii: Sequence[int]
                    ) -> list[dict[int, Verdict]]:  # fmt: skip
        """Certificates of whole clusters, for each of their pictures."""
        known: list[dict[int, Verdict]] = [{} for _ in y]
        if self.effort.regions is None:
            return known
        for members in clusters(x, y.numpy(), self.effort.regions):
            for r in radii:
                begun = time.perf_counter()
                low, high = (pixels.integers(end) for end in hull(x[members], r))
                found = bounds(self.net, low, high)
                sure = bool(self._certificates(found, y[members[:1]])[0] > 0)
                seconds = (time.perf_counter() - begun) / len(members)
                for i in members if sure else ():
                    known[i][r] = Verdict("certified", "region", seconds)
        return known

    def boxes(
        self, q: Tensor, y: Tensor, boxes: dict[int, tuple[Tensor, Tensor]],
        known: list[dict[int, Verdict]] | None = None,
    ) -> list[dict[int, Verdict]]:  # fmt: skip
        """For inputs q [N, *shape] of class y: a verdict for each of their nested boxes, on top of
        what is known."""
        verdicts = known or [{} for _ in y]
        right = self._margins(self.runtime.run(q), y) > 0
        for i in np.flatnonzero(~right.numpy()):
            self.broken += sum(v.says == "certified" for v in verdicts[i].values())
            verdicts[i] = {r: Verdict("wrong", "the file", 0.0, q[i]) for r in boxes}
        self._by_bounds(y, boxes, verdicts)
        self._by_attack(y, boxes, verdicts)
        for i, each in enumerate(verdicts):
            for r in sorted(boxes):
                if r not in each:
                    low, high = (t[i : i + 1] for t in boxes[r])
                    found = self._leftover(low, high, y[i : i + 1])
                    self._enter(each, boxes, r, found)
        return verdicts

    def _by_bounds(self, y: Tensor, boxes: dict[int, tuple[Tensor, Tensor]],
                   verdicts: list[dict[int, Verdict]]) -> None:  # fmt: skip
        """Intervals and CROWN, from the largest radius down."""
        for r in sorted(boxes, reverse=True):
            left = [i for i, known in enumerate(verdicts) if r not in known]
            if not left:
                continue
            index = torch.tensor(left)
            begun = time.perf_counter()
            low, high = (t[index] for t in boxes[r])
            least = self._certificates(bounds(self.net, low, high), y[index])
            seconds = (time.perf_counter() - begun) / len(left)
            for i, value in zip(left, least.tolist(), strict=True):
                if value > 0:
                    verdicts[i][r] = Verdict("certified", "bounds", seconds)
                    self._share(verdicts[i], boxes, r)

    def _certificates(self, found: Bounds, y: Tensor) -> Tensor:
        """Least lead [N] of class y over every other one."""
        if self.effort.shared:
            lead = crown.margins(self.net, found, y)
        else:  # one rival at a time, each with bounds of its own
            rows = crown.rivals(self.net, y)
            lead = torch.cat([
                crown.Crown(self.net, bounds(self.net, found.low[0], found.high[0])).least(
                    self.net.output, rows[:, k : k + 1]
                ) for k in range(rows.shape[1])
            ], 1)  # fmt: skip
        return lead.scatter(1, y[:, None], torch.inf).amin(1)

    def _share(self, known: dict[int, Verdict], boxes: dict[int, tuple[Tensor, Tensor]], r: int
               ) -> None:  # fmt: skip
        """A certificate holds for smaller boxes, a counterexample for larger ones."""
        if not self.effort.shared:
            return
        for other in boxes:
            inherits = {"certified": other < r, "falsified": other > r}.get(known[r].says, False)
            if inherits and other not in known:
                known[other] = Verdict(known[r].says, "radius", 0.0, known[r].input)

    def _by_attack(self, y: Tensor, boxes: dict[int, tuple[Tensor, Tensor]],
                   verdicts: list[dict[int, Verdict]]) -> None:  # fmt: skip
        """Attack what is left, and every certificate at its largest radius; where one falls, what
        it had proved of smaller boxes as well."""
        for r in sorted(boxes):
            left = [i for i, v in enumerate(verdicts) if r not in v or _proves(v[r])]
            fallen = self._attack_at(r, left, y, boxes, verdicts)
            for smaller in sorted(other for other in boxes if other < r):
                again = [i for i in fallen if smaller not in verdicts[i]]
                self._attack_at(smaller, again, y, boxes, verdicts)

    def _attack_at(self, r: int, some: list[int], y: Tensor,
                   boxes: dict[int, tuple[Tensor, Tensor]], verdicts: list[dict[int, Verdict]],
                   ) -> list[int]:  # fmt: skip
        """Attack some of the pictures within one radius; returns those that lost a certificate."""
        if not some:
            return []
        index, fallen = torch.tensor(some), []
        begun = time.perf_counter()
        low, high = (t[index] for t in boxes[r])
        tried = self.effort.attack(self.net, low, high, y[index])
        seconds = (time.perf_counter() - begun) / len(some)
        for i, found in zip(some, tried, strict=True):
            lead = self._margins(self.runtime.run(found), y[i].expand(len(found)))
            if float(lead.min()) <= 0:
                verdict = Verdict("falsified", "attack", seconds, found[lead.argmin()])
                if self._enter(verdicts[i], boxes, r, verdict):
                    fallen.append(i)
        return fallen

    def _enter(self, known: dict[int, Verdict], boxes: dict[int, tuple[Tensor, Tensor]], r: int,
               verdict: Verdict) -> bool:  # fmt: skip
        """Write down a verdict and what follows from it; whether it broke a certificate. Then what
        was certified of smaller boxes by no proof that still stands is open again."""
        broken = []
        if verdict.says == "falsified":  # as is every larger box
            broken = [other for other, v in known.items() if _proves(v)
                      and (other == r or (other > r and self.effort.shared))]  # fmt: skip
        self.broken += len(broken)
        for other in broken:
            del known[other]
        for other in [s for s, v in known.items() if broken and v.says == "certified"]:
            if not any(_proves(v) and stands >= other for stands, v in known.items()):
                del known[other]
        known[r] = verdict
        self._share(known, boxes, r)
        return bool(broken)

    def _margins(self, scores: Tensor, y: Tensor) -> Tensor:
        """Lead [N] of the score of class y; not positive where another is as large."""
        true = scores.gather(1, y[:, None])[:, 0]
        return true - scores.scatter(1, y[:, None], -torch.inf).amax(1)

    def _leftover(self, low: Tensor, high: Tensor, y: Tensor) -> Verdict:
        """One box that bounds and attack left open."""
        begun = time.perf_counter()
        found = tightened(self.net, low, high, self.effort.dense)
        lead = crown.margins(self.net, found, y)[0]
        lead[y[0]] = torch.inf
        if lead.min() > 0:
            return Verdict("certified", "tighter bounds", time.perf_counter() - begun)
        if self.effort.milp_s <= 0:
            return Verdict("unknown", "bounds", time.perf_counter() - begun)
        rivals = [k for k in lead.argsort().tolist() if lead[k] <= 0]
        says, candidate = self._by_programs(found, y, rivals)
        return Verdict(says, "program", time.perf_counter() - begun, candidate)

    def _by_programs(
        self, found: Bounds, y: Tensor, rivals: list[int]
    ) -> tuple[str, Tensor | None]:
        """Minimise the lead over each rival that bounds left open."""
        start = self._start()
        if start is None:
            return "unknown", None
        deadline = time.monotonic() + self.effort.milp_s
        for k in rivals:
            row = crown.rivals(self.net, y)[0, k]

            def real(q: Tensor) -> bool:
                return float(self._margins(self.runtime.run(q[None]), y)[0]) <= 0

            order = neurons(self.net, found, row, self.effort.order, start)
            left = deadline - time.monotonic()
            if left <= 0:
                return "unknown", None
            least = milp.minimum(self.net, found, row, order, start, left, real=real)
            if least.input is not None and real(least.input):
                return "falsified", least.input
            if least.lower <= milp.DECIDED:
                return "unknown", None
        return "certified", None

    def _start(self) -> int | None:
        """The first layer from which on the program has at most ``most`` integers, else that before
        the scores; None where the layers behind read one before it."""
        sizes = [int(np.prod(self.net.shape))]
        sizes += [int(np.prod(layer.shape)) for layer in self.net.layers]
        last = self.net.output - 1
        for number in range(self.net.output):
            between = slice(number, self.net.output)
            chain = all(min(layer.inputs) >= number for layer in self.net.layers[between])
            small = sum(sizes[number : self.net.output + 1]) <= self.effort.most
            if chain and (small or number == last):
                return number
        return None


def _proves(verdict: Verdict) -> bool:
    """Whether it is a certificate of its own, not one of a larger radius."""
    return verdict.says == "certified" and verdict.by != "radius"


def tightened(net: Net, low: Tensor, high: Tensor, dense: int) -> Bounds:
    """Bounds of a box, those of layers of at most ``dense`` integers by CROWN."""
    found = bounds(net, low, high)
    for number, layer in enumerate(net.layers[: net.output - 1], 1):
        if isinstance(layer, Steps) and layer.constant.numel() <= dense:
            crown.refine(net, found, number)
    return found


def neurons(net: Net, found: Bounds, row: Tensor, order: str, start: int
            ) -> list[tuple[int, int]] | None:  # fmt: skip
    """Neurons (layer, index) that are not fixed, those that must be whole first in front.

    influence: |coefficient of the CROWN row| * width, what fixing it may gain; width: the widest
    interval; file: as they come; all: None, all at once.
    """
    if order == "all":
        return None
    weights = crown.Crown(net, found).coefficients(net.output, row) if order == "influence" else {}
    listed: list[tuple[float, int, int]] = []
    for number in range(start + 1, net.output):
        layer = net.layers[number - 1]
        if not isinstance(layer, Steps):
            continue
        wide = (found.high[number] - found.low[number])[0].flatten()
        worth = wide * weights[number].flatten().abs() if number in weights else wide
        listed += [(-float(worth[i]), number, i) for i in np.flatnonzero(wide.numpy() > 0)]
    if order != "file":
        listed.sort()
    return [(number, index) for _, number, index in listed]
