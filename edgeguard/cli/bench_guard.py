# SPDX-License-Identifier: Apache-2.0
"""What a guard costs in situ: right after real inferences, caches cold.

Three real int8 members of about the same size run one after the other, as they do in a vehicle.
Five loops that share frames, tensors and sessions take turns, one step each, in changing order:

    bare     the frame's preprocessing and the three inferences: what a user has without a guard
    guard    `Guard.step`, which does the same and everything else
    native   bare, then the native evidence and decision calls, timed alone
    numpy    bare, then the same evidence as one would write it in numpy, timed alone
    clock    bare, then nothing, timed alone: what the two readings of the clock cost there

guard.total is the median of (guard - bare) over neighbouring steps: nothing is timed inside a step,
so no stopwatch is part of it, and what a bare loop costs beside its inferences is not the guard's.
From guard.native and numpy.overhead the median of the empty clock is taken off. Each is given as a
share of the step that it is part of. The members are sized in rotation, as they run here; what the
bare step really took is given with each figure.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.guard import Guard

SIZES = {"100us": 100.0, "1ms": 1_000.0, "10ms": 10_000.0}
BARS = {"100us": (0.03, 0.10), "1ms": (0.005, 0.01), "10ms": (None, None)}
CLASSES = 43
FRAME = (480, 640, 3)
Figure = dict[str, Any]

POLICY = """
[guard]
name = "bench"
period_ms = 10
[camera.front]
rate_hz = 100
max_age_ms = 100
[signal.speed]
unit = "m/s"
range = [0.0, 70.0]
[channel.target_speed]
unit = "m/s"
range = [0.0, 36.2]
rise = 1.5
fall = 4.0
stop = 0.0
fallback = { controller = "slow_and_hold", floor = 5.5 }
raise = { certainty = 0.98, quorum = 3 }
lower = { certainty = 0.80, quorum = 2 }
[channel.target_speed.means]
"class 1" = 10.0
[detector.dark]
kind = "image"
camera = "front"
feature = "black_share"
above = 0.9
cause = "IMAGE_UNHEALTHY"
[rearm]
standstill_signal = "speed"
standstill_below = 0.1
"""

MEMBER = """
[member.{name}]
model = "{name}.onnx"
camera = "front"
deadline_ms = 80
max_age_ms = 100
may_suggest = ["target_speed"]
"""


def numpy_evidence(rows: list[npt.NDArray[np.int8]], scale: float, zero: int) -> tuple[Any, ...]:
    """The same evidence as one person would write it in numpy, batched over the members."""
    raw = np.stack(rows)
    logits = (raw.astype(np.float32) - zero) * np.float32(scale)
    sane = np.isfinite(logits).all(axis=1) & ((raw == 127).sum(axis=1) <= 1)
    top = logits.max(axis=1, keepdims=True)
    exponent = np.exp(logits - top)
    total = exponent.sum(axis=1, keepdims=True)
    p = exponent / total
    label = p.argmax(axis=1)
    pair = np.partition(p, -2, axis=1)[:, -2:]
    entropy = -(p * np.log(p + 1e-12)).sum(axis=1)
    energy = -(top + np.log(total))[:, 0]
    votes = np.bincount(label[sane], minlength=p.shape[1])
    return label, pair[:, 1], pair[:, 1] - pair[:, 0], entropy, energy, votes.argmax()


def make_guard(folder: Path, target_us: float) -> Guard:
    """A guard of three members that take about ``target_us`` each, built for this machine."""
    from edgeguard.lab.zoo.sized import write_members

    names = ("one", "two", "three")
    write_members(folder, names, target_us)
    policy = POLICY + "".join(MEMBER.format(name=name) for name in names)
    (folder / "guard.toml").write_text(policy)
    return Guard.load(folder / "guard.toml")


class Loops:
    """The loops that are compared. Each call is one step and returns its nanoseconds."""

    def __init__(self, guard: Guard) -> None:
        guard.arm()
        self._frames = np.random.default_rng(0).integers(0, 256, (4, *FRAME), np.uint8)
        guard.observe("front", self._frames[0], 0)  # plans the kernel for this size
        eye, self._guard, self._core = guard._parts.eye("front"), guard, guard._parts.core
        self._preprocess, *self._rest = eye.camera._kernels[0]
        members: list[Any] = [seat.member for seat in eye.local]
        self._models = [(m._model._session.run_with_iobinding, m._model._binding) for m in members]
        self._scores = [member.scores for member in members]
        self._now_ns = 0
        self.all = {
            "bare": self.bare, "guard": self.guard, "native": self.native, "numpy": self.numpy,
            "clock": self.clock,
        }  # fmt: skip

    def _next(self) -> npt.NDArray[np.uint8]:
        self._now_ns += 10_000_000
        frame: npt.NDArray[np.uint8] = self._frames[self._now_ns // 10_000_000 % 4]
        return frame

    def _bare(self, frame: npt.NDArray[np.uint8]) -> None:
        tensor, health = self._rest
        self._preprocess(frame, tensor, None, health)
        for run, binding in self._models:
            run(binding)

    def bare(self) -> int:
        """Preprocessing and inference."""
        frame = self._next()
        start = time.perf_counter_ns()
        self._bare(frame)
        return time.perf_counter_ns() - start

    def guard(self) -> int:
        """The guard's whole step."""
        frame, step, signals, now_ns = self._next(), self._guard.step, {"speed": 20.0}, self._now_ns
        start = time.perf_counter_ns()
        step("front", frame, signals, now_ns)
        return time.perf_counter_ns() - start

    def native(self) -> int:
        """Only the native calls, after a bare step."""
        evaluate, decide = self._core.evaluate, self._core.decide
        signals, rule, ready_ns = {"speed": 20.0}, {"target_speed": 5.5}, [self._now_ns] * 3
        self._bare(self._next())
        start = time.perf_counter_ns()
        evaluate((0, 1, 2), self._now_ns, ready_ns)
        decide(signals, rule, 0, self._now_ns)
        return time.perf_counter_ns() - start

    def numpy(self) -> int:
        """Only numpy's evidence, after a bare step."""
        self._bare(self._next())
        start = time.perf_counter_ns()
        numpy_evidence(self._scores, 0.1, 0)
        return time.perf_counter_ns() - start

    def clock(self) -> int:
        """Only the clock, after a bare step."""
        self._bare(self._next())
        start = time.perf_counter_ns()
        return time.perf_counter_ns() - start


def measure(guard: Guard, rounds: int) -> dict[str, npt.NDArray[np.int64]]:
    """Nanoseconds per round of each loop; a round runs each once, bare beside guard."""
    loops = Loops(guard).all
    seen: dict[str, list[int]] = {name: [] for name in loops}
    for n in range(rounds):
        for name in list(loops)[:: 1 if n % 2 else -1]:
            seen[name].append(loops[name]())
    return {name: np.array(values) for name, values in seen.items()}


def figures(rounds: int = 2000) -> list[Figure]:
    """Shares of the step that the guard takes, in situ, for three sizes of members."""
    found: list[Figure] = []
    for size, target_us in SIZES.items():
        with tempfile.TemporaryDirectory() as folder, make_guard(Path(folder), target_us) as guard:
            ns = measure(guard, max(50, int(rounds * min(1.0, 200.0 / target_us))))
        native_bar, total_bar = BARS[size]
        bare, step, clock = (float(np.median(ns[name])) for name in ("bare", "guard", "clock"))
        native, rival = ns["native"] - clock, ns["numpy"] - clock
        detail = {"step_us": step / 1e3, "bare_us": bare / 1e3, "clock_us": clock / 1e3}
        for name, part, whole, bar in (
            ("guard.native", native, step, native_bar),
            ("guard.total", ns["guard"] - ns["bare"], step, total_bar),
            ("numpy.overhead", rival, bare + float(np.median(rival)), None),
        ):
            found.append(_share(f"{name}.{size}", part, whole, bar, detail))
    return found


def _share(
    name: str, ns: npt.NDArray[Any], whole: float, bar: float | None, detail: dict[str, float]
) -> Figure:
    value = float(np.median(ns) / whole)
    return {
        "id": name,
        "value": value,
        "unit": "1",
        "n": len(ns),
        "bar": f"<= {bar}" if bar else None,
        "holds": value <= bar if bar else None,
        "p50_us": float(np.median(ns)) / 1e3,
        "p99_us": float(np.percentile(ns, 99)) / 1e3,
        **detail,
    }


def table(found: list[Figure]) -> str:
    """The guard's figures as text."""
    rows = [f for f in found if f["id"].startswith(("guard.", "numpy."))]
    lines = [
        "Beside a loop of the same preprocessing and three real int8 members",
        f"  {'':24}{'share':>8}{'p50 us':>9}{'p99 us':>9}{'step us':>9}{'bare us':>9}  bar",
    ]
    for f in rows:
        verdict = {True: "holds", False: "DOES NOT HOLD"}.get(f["holds"], "")
        times = f"{f['p50_us']:9.1f}{f['p99_us']:9.1f}{f['step_us']:9.0f}{f['bare_us']:9.0f}"
        lines.append(f"  {f['id']:24}{f['value']:8.2%}{times}  {f['bar'] or ''} {verdict}")
    return "\n".join(lines)
