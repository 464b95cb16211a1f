# SPDX-License-Identifier: Apache-2.0
"""What a guard costs in situ: inside `Guard.step`, right after real inferences, caches cold.

Three real int8 members of about the same size run one after the other, as they do in a vehicle;
the same evidence computed by numpy stands beside it, interleaved step by step.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
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


class Stopwatch:
    """Adds up the nanoseconds that a function takes; its own cost stays with the caller."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.ns = 0

    def __call__(self, *arguments: Any) -> Any:
        start = time.perf_counter_ns()
        result = self._function(*arguments)
        self.ns += time.perf_counter_ns() - start
        return result

    def take(self) -> int:
        """The sum since the last call."""
        ns, self.ns = self.ns, 0
        return ns


class Watched:
    """Stands in for an object; the named methods are timed, the rest is passed through."""

    def __init__(self, inner: Any, *methods: str) -> None:
        self._inner = inner
        self.watches = {name: Stopwatch(getattr(inner, name)) for name in methods}
        self.__dict__.update(self.watches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def take(self) -> int:
        """Nanoseconds in all named methods since the last call."""
        return sum(watch.take() for watch in self.watches.values())


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
    from edgeguard.lab.zoo.sized import write_member

    policy = POLICY
    for seed, name in enumerate(("one", "two", "three")):
        write_member(folder, name, target_us, seed)
        policy += MEMBER.format(name=name)
    (folder / "guard.toml").write_text(policy)
    return Guard.load(folder / "guard.toml")


def measure(guard: Guard, rounds: int) -> dict[str, npt.NDArray[np.int64]]:
    """Nanoseconds per step: step, preprocessing, inference, native calls, numpy's evidence."""
    guard.arm()
    parts, eye = guard._parts, guard._parts.eye("front")
    frames = np.random.default_rng(0).integers(0, 256, (4, *FRAME), np.uint8)
    guard.observe("front", frames[0], 0)
    kernels: list[Any] = [Watched(kernel, "run") for kernel, *_ in eye.camera._kernels]
    eye.camera._kernels = [
        (kernel, *rest) for kernel, (_, *rest) in zip(kernels, eye.camera._kernels, strict=True)
    ]
    models: list[Any] = []
    for seat in eye.local:
        member: Any = seat.member
        member._model = Watched(member._model, "run")
        models.append(member._model)
    core: Any = Watched(parts.core, "evaluate", "decide")
    guard._core = core
    scores = [parts.core.scores(i) for i in range(3)]
    seen: dict[str, list[int]] = {
        k: [] for k in ("step", "preprocess", "inference", "native", "numpy")
    }
    for n in range(rounds):
        start = time.perf_counter_ns()
        guard.step("front", frames[n % 4], {"speed": 20.0}, (n + 1) * 10_000_000)
        seen["step"].append(time.perf_counter_ns() - start)
        seen["preprocess"].append(sum(k.take() for k in kernels))
        seen["inference"].append(sum(m.take() for m in models))
        seen["native"].append(core.take())
        for model in models:  # the rival finds caches and predictors as cold
            model.run()
        start = time.perf_counter_ns()
        numpy_evidence(scores, 0.1, 0)
        seen["numpy"].append(time.perf_counter_ns() - start)
        sum(m.take() for m in models)
    return {name: np.array(values) for name, values in seen.items()}


def figures(rounds: int = 2000) -> list[Figure]:
    """Shares of the step that the guard takes, in situ, for three sizes of members."""
    found: list[Figure] = []
    for size, target_us in SIZES.items():
        with tempfile.TemporaryDirectory() as folder, make_guard(Path(folder), target_us) as guard:
            ns = measure(guard, max(50, int(rounds * min(1.0, 100.0 / target_us))))
        rest = ns["step"] - ns["preprocess"] - ns["inference"]
        bare = np.median(ns["inference"] + ns["preprocess"])
        native_bar, total_bar = BARS[size]
        step = np.median(ns["step"])
        detail = {"step_us": step / 1e3, "inference_us": float(np.median(ns["inference"])) / 1e3}
        for name, part, bar in (
            ("guard.native", ns["native"], native_bar),
            ("guard.total", rest, total_bar),
            ("numpy.overhead", ns["numpy"], None),
        ):
            whole = bare + np.median(ns["numpy"]) if name == "numpy.overhead" else step
            found.append(_share(f"{name}.{size}", part, whole, bar, detail))
    return found


def _share(
    name: str, ns: npt.NDArray[np.int64], whole: float, bar: float | None, detail: dict[str, float]
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
        "In Guard.step, right after three real int8 members",
        f"  {'':24}{'share':>8}{'p50 us':>9}{'p99 us':>9}{'step us':>9}  bar",
    ]
    for f in rows:
        verdict = {True: "holds", False: "DOES NOT HOLD"}.get(f["holds"], "")
        numbers = f"{f['value']:8.2%}{f['p50_us']:9.1f}{f['p99_us']:9.1f}{f['step_us']:9.0f}"
        lines.append(f"  {f['id']:24}{numbers}  {f['bar'] or ''} {verdict}")
    return "\n".join(lines)
