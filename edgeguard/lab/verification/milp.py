# SPDX-License-Identifier: Apache-2.0
"""Leftovers by mixed-integer programming (HiGHS, through scipy): the staircases themselves.

Every integer of the net is a variable, p a linear expression in those of the layer before, and
    q - 1/2 - error <= p <= q + 1/2 + error
holds between the clips; at a clip one side is switched off by a binary. Halves count to both sides
and the error is in it, so a minimum above zero is a proof, and a minimum at or below zero is a
candidate that must be replayed on the file.

HiGHS works in float64 with tolerances; ``TOLERANCE`` keeps every true point inside of its rows, and
certificates by bounds alone do not depend on it.

``order`` names the neurons that must be whole first; the others may lie between their steps, which
is a relaxation. Rounds double their number until the proof is there, the candidate is real, or all
are whole. Big nets start behind a layer (``start``), whose integers are free within their bounds:
then only proofs count.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from scipy.optimize import Bounds as Ends
from scipy.optimize import LinearConstraint, milp
from torch import Tensor

from edgeguard.lab.verification.interval import Bounds
from edgeguard.lab.verification.maps import Map, Scale
from edgeguard.lab.verification.net import MaxPool, Net, Reshape, Steps

F64 = npt.NDArray[np.float64]
TOLERANCE = 1e-5  # HiGHS holds constraints to 1e-7; rows are in steps
DECIDED = 0.5  # a minimum above it is a proof: rows of integers are whole, so 0 is not reached


@dataclass(frozen=True)
class Minimum:
    """The least value of a row over the box, as far as it was found.

    lower: proved bound; input: integers [*shape] that give the candidate, None without one;
    whole: no integer was relaxed and the program started at the input.
    """

    lower: float
    input: Tensor | None
    whole: bool
    rounds: int


@dataclass
class Program:
    """Columns and rows of the program of one box, without the objective."""

    low: list[F64] = field(default_factory=list)
    high: list[F64] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)  # (sparse rows, columns there, least, most)
    first: dict[int, int] = field(default_factory=dict)  # layer -> its first column
    binaries: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)  # layer -> columns
    owners: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)  # and whose they are
    width: int = 0

    def columns(self, low: F64, high: F64) -> npt.NDArray[np.int64]:
        """New columns with these ends."""
        self.low.append(low)
        self.high.append(high)
        self.width += len(low)
        return np.arange(self.width - len(low), self.width)

    def row(self, parts: list[tuple[Any, npt.NDArray[np.int64]]], least: F64, most: F64) -> None:
        """Constraints least <= sum(matrix @ columns) <= most."""
        self.rows.append((parts, least, most))

    def constraints(self) -> list[LinearConstraint]:
        """All rows as one sparse matrix; none where every integer is fixed."""
        blocks, least, most = [], [], []
        for parts, low, high in self.rows:
            block = sparse.csr_matrix((len(low), self.width))
            for matrix, columns in parts:
                coo = sparse.coo_matrix(matrix)
                at = (coo.row, columns[coo.col])
                block = block + sparse.csr_matrix((coo.data, at), shape=block.shape)
            blocks.append(block)
            least.append(low)
            most.append(high)
        if not blocks:
            return []
        return [
            LinearConstraint(sparse.vstack(blocks), np.concatenate(least), np.concatenate(most))
        ]


def matrix(one: Map, inside: tuple[int, ...], rows: npt.NDArray[np.int64], size: int) -> Any:
    """Rows of a linear map as a sparse matrix [len(rows), inputs]."""
    if isinstance(one, Scale):
        picked = sparse.identity(size, format="csr")[rows]
        return picked * one.factor
    found = []
    outputs = one.apply(torch.zeros(1, *inside, dtype=torch.float64)).shape[1:]
    for part in np.array_split(rows, max(1, len(rows) // 256)):
        pick = torch.zeros(len(part), size, dtype=torch.float64)
        pick[torch.arange(len(part)), torch.from_numpy(part)] = 1.0
        found.append(sparse.csr_matrix(one.back(pick.view(-1, *outputs)).flatten(1).numpy()))
    return sparse.vstack(found)


def program(net: Net, found: Bounds, start: int = 0) -> Program:
    """The program of the first box in ``found``, from the integers of layer ``start`` on."""
    p = Program()
    p.first[start] = int(p.columns(*ends_of(found, start))[0])
    for number in range(start + 1, net.output + 1):
        layer = net.layers[number - 1]
        if isinstance(layer, Reshape):
            p.first[number] = p.first[layer.inputs[0]]
            continue
        p.first[number] = int(p.columns(*ends_of(found, number))[0])
        if isinstance(layer, MaxPool):
            _max_pool(p, layer, number, found)
        else:
            _steps(p, net, layer, number, found)
    return p


def ends_of(found: Bounds, number: int) -> tuple[F64, F64]:
    """The integers of a layer over the first box: lowest and highest, each flat."""
    return found.low[number][0].flatten().numpy(), found.high[number][0].flatten().numpy()


def _steps(p: Program, net: Net, layer: Steps, number: int, found: Bounds) -> None:
    """Rows between p and q for the integers that are not fixed by their bounds."""
    low, high = ends_of(found, number)
    open_ = np.flatnonzero(low < high) if not layer.raw else np.arange(len(low))
    if len(open_) == 0:
        return
    least, most, error = (t[number][0].flatten().numpy()[open_]  # type: ignore[index]
                          for t in (found.before_low, found.before_high, found.error))  # fmt: skip
    parts = []
    for source, one in zip(layer.inputs, layer.maps, strict=True):
        shape = net.shape if source == 0 else net.layers[source - 1].shape
        size = int(np.prod(shape))
        columns = p.first[source] + np.arange(size)
        parts.append((matrix(one, shape, open_, layer.constant.numel()), columns))
    constant = layer.constant.flatten().numpy()[open_]
    own = p.first[number] + open_
    minus = -sparse.identity(len(open_), format="csr")
    slack = error + (0.0 if layer.raw else 0.5) + TOLERANCE
    free = np.full(len(open_), np.inf)
    below = np.flatnonzero((low[open_] == layer.low) & (least < layer.low - slack))
    over = np.flatnonzero((high[open_] == layer.high) & (most > layer.high + slack))
    if layer.raw:
        below = over = below[:0]
    clipped_low = _switch(p, number, open_[below])
    clipped_high = _switch(p, number, open_[over])
    # q - slack - reach * off <= p: off = 1 at the lower clip, where q is low
    reach = np.zeros(len(open_))
    reach[below] = (layer.low - slack[below]) - least[below] + 1
    sized = sparse.csr_matrix((reach[below], (below, np.arange(len(below)))),
                              shape=(len(open_), len(below)))  # fmt: skip
    p.row([*parts, (minus, own), (sized, clipped_low)], -slack - constant, free)
    reach = np.zeros(len(open_))
    reach[over] = most[over] - (layer.high + slack[over]) + 1
    sized = sparse.csr_matrix((reach[over], (over, np.arange(len(over)))),
                              shape=(len(open_), len(over)))  # fmt: skip
    p.row([*parts, (minus, own), (-sized, clipped_high)], -free, slack - constant)
    # a switch that is on holds q at its end
    tall = sparse.diags(high[open_[below]] - layer.low)
    one = sparse.identity(len(below), format="csr")
    p.row([(one, own[below]), (tall, clipped_low)], -free[below], high[open_[below]])
    tall = sparse.diags(layer.high - low[open_[over]])
    one = sparse.identity(len(over), format="csr")
    p.row([(one, own[over]), (-tall, clipped_high)], low[open_[over]], free[over])


def _switch(p: Program, number: int, owners: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A binary for each of these integers of a layer."""
    columns = p.columns(np.zeros(len(owners)), np.ones(len(owners)))
    p.binaries[number] = np.concatenate([p.binaries.get(number, columns[:0]), columns])
    p.owners[number] = np.concatenate([p.owners.get(number, owners[:0]), owners])
    return columns


def _max_pool(p: Program, layer: MaxPool, number: int, found: Bounds) -> None:
    """The largest of each window: one of its inputs is chosen by binaries."""
    from edgeguard.lab.verification.lines import windows

    source = layer.inputs[0]
    low = found.low[source][:1]
    index = torch.arange(low.numel(), dtype=torch.float64).view_as(low)
    inside = torch.isfinite(windows(layer, low))[0]
    places = torch.nan_to_num(windows(layer, index), neginf=0.0)[0].long()
    at = inside.transpose(1, 2).flatten(0, 1).numpy()  # [windows, k * k]
    members = places.transpose(1, 2).flatten(0, 1).numpy()
    who, slot = np.nonzero(at)
    x = p.first[source] + members[who, slot]
    q = p.first[number] + who
    n = len(who)
    one, free = sparse.identity(n, format="csr"), np.full(n, np.inf)
    p.row([(one, q), (-one, x)], np.zeros(n), free)
    chosen = _switch(p, number, who)
    least = low.flatten().numpy()[members[who, slot]]
    reach = found.high[number][0].flatten().numpy()[who] - least
    p.row([(one, q), (-one, x), (sparse.diags(reach), chosen)], -free, reach)
    group = sparse.csr_matrix((np.ones(n), (who, np.arange(n))), shape=(len(at), n))
    p.row([(group, chosen)], np.ones(len(at)), np.ones(len(at)))


def minimum(net: Net, found: Bounds, row: Tensor, order: list[tuple[int, int]] | None = None,
            start: int = 0, limit_s: float = 30.0, first: int = 16,
            real: Any = lambda q: False) -> Minimum:  # fmt: skip
    """The least value of row [K] times the scores over the first box of ``found``.

    order: (layer, index) of neurons, the first ones are made whole first; None makes all whole at
    once. real: whether an input is a counterexample on the file that runs.
    """
    p = program(net, found, start)
    constraints = p.constraints()
    objective = np.zeros(p.width)
    size = row.numel()
    objective[p.first[net.output] : p.first[net.output] + size] = row.numpy()
    ends = Ends(np.concatenate(p.low), np.concatenate(p.high))
    deadline, rounds, held = time.monotonic() + limit_s, 0, first if order else p.width
    best = -np.inf
    while True:
        rounds += 1
        everything = order is None or held >= len(order)
        whole = _whole(p, net, None if everything else order[:held], start)  # type: ignore[index]
        left = max(0.1, deadline - time.monotonic())
        result = milp(objective, integrality=whole, bounds=ends, constraints=constraints,
                      options={"time_limit": left})  # fmt: skip
        if result.status == 2:  # infeasible: the box is empty, which outward rounding excludes
            raise AssertionError("the program of a box is infeasible: its bounds are wrong")
        proved = result.mip_dual_bound if result.mip_dual_bound is not None else result.fun
        best = max(best, -np.inf if proved is None else float(proved))
        candidate = _candidate(p, net, result.x, start)
        if candidate is not None and real(candidate):
            return Minimum(best, candidate, everything, rounds)
        if best > DECIDED or everything or time.monotonic() >= deadline:
            return Minimum(best, candidate, everything and start == 0, rounds)
        held *= 2


def _candidate(p: Program, net: Net, x: F64 | None, start: int) -> Tensor | None:
    if x is None or start != 0:
        return None
    size = int(np.prod(net.shape))
    return torch.from_numpy(np.round(x[:size])).view(net.shape)


def _whole(p: Program, net: Net, some: list[tuple[int, int]] | None, start: int) -> F64:
    """1 for the columns that must be whole; the inputs and the scores always are."""
    whole = np.zeros(p.width)
    raw = getattr(net.layers[net.output - 1], "raw", False)
    for number, first in p.first.items():
        size = int(np.prod(net.shape if number == 0 else net.layers[number - 1].shape))
        always = number == start or (number == net.output and not raw)
        if always or (some is None and not (number == net.output and raw)):
            whole[first : first + size] = 1
    if some is None:
        for columns in p.binaries.values():
            whole[columns] = 1
        return whole
    for number, index in some:
        whole[p.first[number] + index] = 1
        if number in p.binaries:
            whole[p.binaries[number][p.owners[number] == index]] = 1
    return whole
