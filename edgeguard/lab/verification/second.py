# SPDX-License-Identifier: Apache-2.0
"""A second opinion on certificates: Marabou, a solver that shares no code with this package.

It knows no quantizers, so it is asked about a net that can do more than the file: behind every
linear map stands a real number within half a step and the runtime's error of it, and the clips are
two ReLUs each. From this package come the box, or the ends of the integers of the layer where the
question starts, and that error; the bounds of everything behind are Marabou's own. Where no such
number makes a rival as large (UNSAT), none of the file's integers does. Where one does (SAT), its
input is rounded and replayed on the file: only what the file does counts, since the numbers in
between may be none of its integers, and since Marabou's own answers are not above doubt (its issues
825 and 844).
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeguard.errors import EdgeguardError
from edgeguard.lab.verification.interval import Bounds
from edgeguard.lab.verification.milp import F64, TOLERANCE, ends_of, matrix
from edgeguard.lab.verification.net import MaxPool, Net, Reshape, Steps

fork = multiprocessing.get_context("fork")  # what is asked is already in memory
CONFIRMED, CONTRADICTED, OPEN = "confirmed", "contradicted", "open"
WIDE = 1e6  # steps, beyond what any sum of the net reaches; Marabou tightens it at once
GRACE_S = 1.0
MOST = 400  # free integers: a second for a question of that size, more than ten for three times it


@dataclass
class Query:
    """Variables and constraints as Marabou takes them.

    ends: of each variable; equations: (coefficients, variables, sum); relus: (before, after);
    largest: (variables, their maximum); first: layer -> its first variable.
    """

    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    equations: list[tuple[F64, Any, float]] = field(default_factory=list)
    relus: list[tuple[int, int]] = field(default_factory=list)
    largest: list[tuple[set[int], int]] = field(default_factory=list)
    first: dict[int, int] = field(default_factory=dict)

    def variables(self, low: F64, high: F64) -> int:
        """New ones; returns the first."""
        self.low += low.tolist()
        self.high += high.tolist()
        return len(self.low) - len(low)

    def above(self, variable: int, end: float) -> int:
        """max(0, variable - end) as a variable."""
        before = self.variables(np.array([-WIDE]), np.array([WIDE]))
        after = self.variables(np.zeros(1), np.array([WIDE]))
        self.equations.append((np.array([1.0, -1.0]), [variable, before], end))
        self.relus.append((before, after))
        return after


def query(net: Net, found: Bounds, start: int = 0) -> Query:
    """The net of the first box in ``found``, from the integers of layer ``start`` on."""
    q = Query()
    q.first[start] = q.variables(*ends_of(found, start))
    for number in range(start + 1, net.output + 1):
        layer = net.layers[number - 1]
        if isinstance(layer, Reshape):
            q.first[number] = q.first[layer.inputs[0]]
            continue
        size, grid = int(np.prod(layer.shape)), layer.grid
        ends = (-WIDE, WIDE) if getattr(layer, "raw", False) else (grid.low, grid.high)
        q.first[number] = q.variables(*(np.full(size, float(end)) for end in ends))
        if isinstance(layer, MaxPool):
            _max_pool(q, layer, number, found)
        else:
            _steps(q, net, layer, number, found)
    return q


def _steps(q: Query, net: Net, layer: Steps, number: int, found: Bounds) -> None:
    """Every integer is clip(p + d), |d| at most half a step and the runtime's error."""
    error = found.error[number][0].flatten().numpy()  # type: ignore[index]
    slack = error + (0.0 if layer.raw else 0.5) + TOLERANCE
    away = q.variables(-slack, slack)
    free = np.full(len(slack), WIDE)
    inside = q.variables(-free, free)
    constant = layer.constant.flatten().numpy()
    for i, (weights, columns) in enumerate(_rows(q, net, layer)):
        q.equations.append((
            np.concatenate([weights, [1.0, -1.0]]), [*columns, away + i, inside + i], -constant[i]
        ))  # fmt: skip
        _clip(q, layer, inside + i, q.first[number] + i)


def _rows(q: Query, net: Net, layer: Steps) -> list[tuple[F64, list[int]]]:
    """For each integer the coefficients and variables of p without its constant."""
    size = layer.constant.numel()
    found: list[tuple[list[F64], list[int]]] = [([], []) for _ in range(size)]
    for source, one in zip(layer.inputs, layer.maps, strict=True):
        shape = net.shape if source == 0 else net.layers[source - 1].shape
        rows = matrix(one, shape, np.arange(size), size).tocsr()
        for row, (weights, variables) in zip(rows, found, strict=True):
            weights.append(row.data)
            variables.extend((q.first[source] + row.indices).tolist())
    return [(np.concatenate(weights), variables) for weights, variables in found]


def _clip(q: Query, layer: Steps, inside: int, out: int) -> None:
    """out = clip(inside, low, high) = low + max(0, inside - low) - max(0, inside - high)."""
    if layer.raw:
        q.equations.append((np.array([1.0, -1.0]), [inside, out], 0.0))
        return
    above = [q.above(inside, float(end)) for end in (layer.low, layer.high)]
    q.equations.append((np.array([1.0, -1.0, -1.0]), [*above, out], -float(layer.low)))


def _max_pool(q: Query, layer: MaxPool, number: int, found: Bounds) -> None:
    """Each window's largest."""
    from edgeguard.lab.verification.lines import windows

    source = layer.inputs[0]
    low = found.low[source][:1]
    index = torch.arange(low.numel(), dtype=torch.float64).view_as(low)
    inside = torch.isfinite(windows(layer, low))[0].transpose(1, 2).flatten(0, 1)
    places = torch.nan_to_num(windows(layer, index), neginf=0.0)[0].transpose(1, 2).flatten(0, 1)
    for who, (there, place) in enumerate(zip(inside, places.long(), strict=True)):
        members = {q.first[source] + int(p) for p in place[there]}
        q.largest.append((members, q.first[number] + who))


@dataclass(frozen=True)
class Opinion:
    """says: "confirmed", "contradicted" or "open"; refutable: whether it was asked from the input
    on, since only such a question can contradict."""

    says: str
    refutable: bool


def second_opinion(net: Net, found: Bounds, y: int, real: Callable[[Tensor], bool],
                   limit_s: int = 10, most: int = MOST) -> Opinion:  # fmt: skip
    """What Marabou says of "class y has strictly the largest score over the box in ``found``".

    It is asked about as much of the net as has at most ``most`` free integers, where little rests
    on the bounds of this package; and, for rivals which that leaves open, from later layers on.
    limit_s: for each rival and question. real: whether input integers [*shape] are a counterexample
    on the file. Raises EdgeguardError without Marabou.
    """
    left = [k for k in range(found.low[net.output][0].numel()) if k != y]
    asked = starts(net, found, most)
    for start in asked:
        left, refuted = _from(net, found, y, left, real, start, limit_s)
        if refuted:
            return Opinion(CONTRADICTED, True)
        if not left:
            break
    return Opinion(OPEN if left else CONFIRMED, 0 in asked)


def starts(net: Net, found: Bounds, most: int = MOST) -> list[int]:
    """Layers from whose integers on Marabou can be asked, the earliest first: everything behind
    reads nothing before them, at most ``most`` integers are free, and no sum reaches the ends that
    a query puts around it."""
    possible: list[int] = []
    free = 0
    for start in reversed(range(net.output)):
        if _far(net, found, start + 1):
            break
        if start and isinstance(net.layers[start - 1], Reshape):
            continue  # the same integers as those of the layer before
        low, high = ends_of(found, start)
        free += int((low < high).sum())
        if free > most:
            break
        if all(min(layer.inputs) >= start for layer in net.layers[start:]):
            possible.append(start)
    return possible[::-1]


def _far(net: Net, found: Bounds, number: int) -> bool:
    """Whether sums of a layer come near WIDE: half of it is room for the step and the clip."""
    ends = (found.before_low[number], found.before_high[number])
    return any(end is not None and bool((end[0].abs() > WIDE / 2).any()) for end in ends)


def _from(net: Net, found: Bounds, y: int, rivals: list[int], real: Callable[[Tensor], bool],
          start: int, limit_s: int) -> tuple[list[int], bool]:  # fmt: skip
    """The rivals that may reach y's score for all that Marabou finds; and whether the file lets
    one, which ends the search."""
    asked = query(net, found, start)
    first, size, left = asked.first[net.output], int(np.prod(net.shape)), []
    for rival in rivals:
        values = _solve(asked, first + y, first + rival, limit_s)
        if values is None:
            continue
        left.append(rival)
        if start == 0 and values:
            input_ = torch.tensor([values[i] for i in range(size)], dtype=torch.float64)
            if real(input_.round().view(net.shape)):
                return left, True
    return left, False


def solver() -> Any:
    """Marabou. Raises EdgeguardError where it is not installed."""
    try:
        from maraboupy import MarabouCore
    except ImportError as error:
        raise EdgeguardError(
            "--second-opinion: needs maraboupy; pip install 'edgeguard-monitor[solver]'"
        ) from error
    return MarabouCore


def _solve(asked: Query, best: int, rival: int, limit_s: int) -> dict[int, float] | None:
    """Values of every variable with score ``rival`` at least ``best``; empty when the time was not
    enough; None when there are none. In a process of its own, which can be ended: Marabou looks at
    its own limit between two steps, and one may take minutes (its issue 859)."""
    here, there = fork.Pipe(duplex=False)
    child = fork.Process(target=_child, args=(there, asked, best, rival, limit_s))
    child.start()
    there.close()
    try:
        return here.recv() if here.poll(limit_s + GRACE_S) else {}  # type: ignore[no-any-return]
    except (EOFError, OSError):  # it crashed, perhaps while it answered
        return {}
    finally:
        child.kill()
        child.join()


def _child(answer: Connection, asked: Query, best: int, rival: int, limit_s: int) -> None:
    core = solver()
    options = core.Options()
    options._timeoutInSeconds, options._verbosity = limit_s, 0
    says, values, _ = core.solve(_problem(core, asked, best, rival), options, "")
    answer.send(None if says == "unsat" else values if says == "sat" else {})


def _problem(core: Any, asked: Query, best: int, rival: int) -> Any:
    problem = core.InputQuery()
    problem.setNumberOfVariables(len(asked.low))
    for i, (low, high) in enumerate(zip(asked.low, asked.high, strict=True)):
        problem.setLowerBound(i, low)
        problem.setUpperBound(i, high)
    lead = (np.array([1.0, -1.0]), [best, rival], 0.0)
    rows = [(core.Equation.EQ, e) for e in asked.equations] + [(core.Equation.LE, lead)]
    for kind, (weights, columns, total) in rows:
        equation = core.Equation(kind)
        for weight, column in zip(weights, columns, strict=True):
            equation.addAddend(float(weight), column)
        equation.setScalar(float(total))
        problem.addEquation(equation)
    for before, after in asked.relus:
        core.addReluConstraint(problem, before, after)
    for members, top in asked.largest:
        core.addMaxConstraint(problem, members, top)
    return problem
