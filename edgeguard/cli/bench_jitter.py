# SPDX-License-Identifier: Apache-2.0
"""What a worker that stands still, hangs or eats memory costs the tick that decides, in jitter.

The demo's guard, each member in a worker of its own, on the clock as in `edgeguard run --realtime`
(and once more without its priority). A tick's jitter is the time from its deadline until its
command is there: how late it woke up, how long a frame took that was there, and how long it
decided. Five ticks fall into a control
period, so that the 99.9th percentile has something to stand on. Blocks with the fault, in all
workers at once, and without it take turns, each with a guard of its own. A block is shorter than
the time after which a worker that does not answer is ended, so the fault lasts for all of it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeguard.config import GuardConfig, load
from edgeguard.guard import Guard
from edgeguard.inference import supervisor
from edgeguard.loop import realtime
from edgeguard.processes import processes
from edgeguard.streams.campaign import strange
from edgeguard.zoo import models_dir

BAR_US = 1000.0
PERIOD_NS = 2_000_000
WARM, TICKS = 100, 800  # of a block: before the fault comes, and while it is there
FRAME_TICKS = 50  # a frame every 100 ms
FRAME = (480, 640, 3)
BLOCKS = 40  # a block of each kind for so many rounds
FAULTS = {
    "stopped": signal.SIGSTOP,
    "hung": strange.number_of("spins, signals blocked"),
    "eating_memory": strange.number_of("churns memory"),
}
Figure = dict[str, Any]
Blocks = dict[str, list[list[int]]]


def figures(rounds: int) -> tuple[list[Figure], list[str]]:
    """jitter[.ordinary].{stopped, hung, eating_memory}: microseconds added at p99.9; and what the
    operating system refused. The bar is for the loop with real-time priority."""
    many = max(1, rounds // BLOCKS)
    found: list[Figure] = []
    refused: list[str] = []
    with processes(1) as pool:
        # What makes a process punctual stays with it; so each way has one of its own.
        blocks, refused = pool.submit(measure, FAULTS, many, TICKS, True).result()
    found += [_figure(f"jitter.{name}", name, blocks, BAR_US) for name in FAULTS]
    with processes(1) as pool:
        blocks, _ = pool.submit(measure, FAULTS, max(1, many // 2), TICKS, False).result()
    found += [_figure(f"jitter.ordinary.{name}", name, blocks, None) for name in FAULTS]
    return found, refused


def lines(found: list[Figure]) -> str:
    """For a person."""
    head = f"{'p99.9 us':>9}{'without':>9}{'added':>8}{'max us':>9}{'without':>9}"
    text = ["Jitter of the tick while all workers fail", f"  {'':34}{head}"]
    for f in found:
        bar = f"  {f['bar']} {'holds' if f['holds'] else 'DOES NOT HOLD'}" if "bar" in f else ""
        numbers = f"{f['p999_us']:9.0f}{f['free_p999_us']:9.0f}{f['value']:8.0f}"
        text.append(f"  {f['id']:34}{numbers}{f['max_us']:9.0f}{f['free_max_us']:9.0f}{bar}")
    return "\n".join(text)


def _figure(figure_id: str, fault: str, blocks: Blocks, bar_us: float | None) -> Figure:
    there, free = (np.concatenate(blocks[name]) / 1e3 for name in (fault, f"without {fault}"))
    p999, free_p999 = (float(np.percentile(us, 99.9)) for us in (there, free))
    found = {
        "id": figure_id, "value": p999 - free_p999, "unit": "us", "n": len(there),
        "p50_us": float(np.median(there)), "free_p50_us": float(np.median(free)),
        "p999_us": p999, "free_p999_us": free_p999,
        "max_us": float(there.max()), "free_max_us": float(free.max()),
    }  # fmt: skip
    if bar_us is None:
        return found
    return found | {"bar": f"<= {bar_us:g}", "holds": p999 - free_p999 <= bar_us}


def measure(
    faults: Mapping[str, int], many: int, ticks: int, punctual: bool
) -> tuple[Blocks, list[str]]:
    """Nanoseconds of every tick's jitter, by block; runs in a process of its own.

    faults: the signal of each that a worker gets; many: blocks of each kind, of so many ticks;
    punctual: as far as the operating system allows, of which the rest is returned in words.
    """
    config = load(models_dir() / "guard.toml").isolated()
    supervisor._PROGRAM = strange.program(0)
    blocks: Blocks = {f"{kind}{name}": [] for name in faults for kind in ("", "without ")}
    refused: list[str] = []
    for n in range(many):
        for name, number in faults.items():
            pair = [(name, number), (f"without {name}", None)]
            for what, struck in pair[:: 1 if n % 2 else -1]:
                late_ns, refused = _block(config, struck, ticks, punctual)
                blocks[what].append(late_ns)
    return blocks, refused


def _block(
    config: GuardConfig, number: int | None, ticks: int, punctual: bool
) -> tuple[list[int], list[str]]:
    """Jitter of the ticks of a block, in nanoseconds; number: the signal that all workers get."""
    frames = np.random.default_rng(0).integers(0, 256, (8, *FRAME), np.uint8)
    with Guard(config) as guard:
        guard.arm()
        refused = realtime.prepare() if punctual else []
        late_ns: list[int] = []
        deadline_ns = time.monotonic_ns()
        for n in range(WARM + ticks):
            if n == WARM and number is not None:
                for member in guard.members.values():
                    os.kill(member.pid, number)
            passed = (time.monotonic_ns() - deadline_ns) // PERIOD_NS
            deadline_ns += max(1, passed) * PERIOD_NS  # as the loop of `run`: one stall, one tick
            realtime.sleep_until(deadline_ns)
            if n % FRAME_TICKS == 0:  # before the decision, as in `run`
                guard.observe("front", frames[n // FRAME_TICKS % 8], deadline_ns)
            guard.decide({"speed": 10.0}, time.monotonic_ns())
            late_ns.append(time.monotonic_ns() - deadline_ns)
    return late_ns[WARM:], refused
