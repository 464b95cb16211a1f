# SPDX-License-Identifier: Apache-2.0
"""``edgeguard lab evaluate can``: intrusion on the bus of a car (Volvo V40), beside a plain
frequency detector.

Split by time, since every attack trace is the same drive: what is normal is learnt from the first
third of the clean trace, limits are set on the second third of it, and the last third of each trace
is reported on. An attack event is a run of attack frames less than GAP_S apart; it is found when a
detector trips between its first frame and one window after its last. Alarms less than MERGED_S
apart are one. The attacks are static: they do not know the detectors.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeguard import figures
from edgeguard.config.vocabulary import BUS_FEATURES
from edgeguard.errors import EdgeguardError
from edgeguard.evidence.bus import Frame, Model, Monitor, learn
from edgeguard.figures import Figure
from edgeguard.lab.zoo.data import data_root
from edgeguard.lab.zoo.figures import rate

TRACES = {
    "clean": "clean_V40_03",
    "dos": "dos_lowestID_V40_03",
    "fuzzing": "payload_fuzzing_ID_145_V40_03",
    "replay": "single_id_replay_ID_8_V40_03",
}
WINDOW_S = 0.1  # a guard asks the monitor that often
GAP_S = 0.25
MERGED_S = 1.0
MARGIN = 1.1  # limits: the largest of the second third, and a tenth more
COUNTED_S = 1.0  # the plain detector counts each identifier's frames over so long


@dataclass(frozen=True)
class Trace:
    """Frames in the order of time, and which of them are an attack's."""

    frames: list[Frame]
    attack: list[bool]

    def between(self, start_s: float, end_s: float) -> Trace:
        """The frames of [start, end)."""
        keep = [start_s <= f.t_s < end_s for f in self.frames]
        frames = [f for f, k in zip(self.frames, keep, strict=True) if k]
        return Trace(frames, [a for a, k in zip(self.attack, keep, strict=True) if k])

    def events(self) -> list[tuple[float, float]]:
        """First and last second of each attack."""
        found: list[tuple[float, float]] = []
        for frame, attack in zip(self.frames, self.attack, strict=True):
            if attack and found and frame.t_s - found[-1][1] < GAP_S:
                found[-1] = found[-1][0], frame.t_s
            elif attack:
                found.append((frame.t_s, frame.t_s))
        return found


Alarms = list[tuple[float, dict[str, float]]]  # end of each window, its numbers


def read(path: Path) -> Trace:
    """A trace of the V40 files. Raises EdgeguardError."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
            rows = list(csv.DictReader(io.TextIOWrapper(file, "utf-8")))
        frames = [
            Frame(float(r["timestamp"]), int(r["CAN_ID"], 16), bytes.fromhex(r["PAYLOAD_HEX"]))
            for r in rows
        ]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise EdgeguardError(f"{path}: cannot be read as a trace of the V40: {error}") from None
    order = sorted(range(len(frames)), key=lambda i: frames[i].t_s)
    attack = [rows[i]["ANOMALY"].lower() == "true" for i in order]
    return Trace([frames[i] for i in order], attack)


def windows(frames: Sequence[Frame]) -> Iterator[tuple[float, list[Frame]]]:
    """Windows of WINDOW_S with their end."""
    start, held = frames[0].t_s, []
    for frame in frames:
        while frame.t_s >= start + WINDOW_S:
            start += WINDOW_S
            yield start, held
            held = []
        held.append(frame)
    yield start + WINDOW_S, held


def monitored(monitor: Monitor, frames: Sequence[Frame]) -> Alarms:
    """The monitor's numbers, window by window."""
    found = []
    for end, inside in windows(frames):
        for frame in inside:
            monitor.frame(frame)
        found.append((end, monitor.numbers()))
    return found


def counted(frames: Sequence[Frame], normal: dict[int, int]) -> Alarms:
    """The plain detector: the most frames of an identifier in a second, against what was learnt."""
    found: Alarms = []
    inside: deque[Frame] = deque()
    count: Counter[int] = Counter()
    for end, new in windows(frames):
        for frame in new:
            inside.append(frame)
            count[frame.id] += 1
        while inside and inside[0].t_s < end - COUNTED_S:
            count[inside.popleft().id] -= 1
        found.append((end, {"frequency": max((n / normal.get(i, 1) for i, n in count.items()),
                                             default=0.0)}))  # fmt: skip
    return found


def usual_counts(frames: Sequence[Frame]) -> dict[int, int]:
    """The most frames of each identifier in any second."""
    most: dict[int, int] = {}
    inside: deque[Frame] = deque()
    count: Counter[int] = Counter()
    for frame in frames:
        inside.append(frame)
        count[frame.id] += 1
        while inside[0].t_s < frame.t_s - COUNTED_S:
            count[inside.popleft().id] -= 1
        most[frame.id] = max(most.get(frame.id, 0), count[frame.id])
    return most


def limits(seen: Alarms) -> dict[str, float]:
    """Above the largest number of clean windows, and not below what "never" would be."""
    names = seen[0][1]
    return {name: MARGIN * max(0.5, *(n[name] for _, n in seen)) for name in names}


def alarms(seen: Alarms, limit: dict[str, float], names: Sequence[str]) -> list[float]:
    """Ends of the windows in which one of these detectors trips."""
    return [end for end, numbers in seen if any(numbers[n] > limit[n] for n in names)]


def judge(trace: Trace, tripped: Sequence[float]) -> tuple[int, int, int]:
    """Events found, events, and false alarms."""
    events = trace.events()
    spans = [(first, last + 2 * WINDOW_S) for first, last in events]
    hits = sum(any(a <= t <= b for t in tripped) for a, b in spans)
    strays = [t for t in tripped if not any(a <= t <= b + COUNTED_S for a, b in spans)]
    merged = sum(i == 0 or t - strays[i - 1] > MERGED_S for i, t in enumerate(strays))
    return hits, len(events), merged


def evaluate(data_dir: str | Path | None, json: str | Path | None = None) -> int:
    """Learn, set limits, measure, print; writes the results file. Returns 0.

    Raises EdgeguardError when a trace is missing or cannot be read.
    """
    if json:
        figures.check_writable(Path(json))
    try:
        folder = data_root(data_dir) / "streams" / "can_v40"
    except FileNotFoundError as error:
        raise EdgeguardError(str(error)) from None
    traces = {name: read(folder / f"{file}.can.zip") for name, file in TRACES.items()}
    end = traces["clean"].frames[-1].t_s
    first, second = (traces["clean"].between(end * i / 3, end * (i + 1) / 3) for i in (0, 1))
    learnt = Learnt.of(first, second)
    found: list[Figure] = []
    print(f"{'trace':<10}{'detector':<12}{'events found':>14}{'false alarms/h':>16}")
    for name, trace in traces.items():
        found += _report(name, trace.between(end * 2 / 3, trace.frames[-1].t_s + 1), learnt)
    print(f"{end / 3:.0f} s of each trace: one false alarm is {3600 / (end / 3):.0f} an hour")
    if json:
        figures.write(Path(json), found, None, ())
    return 0


@dataclass(frozen=True)
class Learnt:
    """What is normal, and the limits of all numbers."""

    model: Model
    usual: dict[int, int]
    limit: dict[str, float]

    @classmethod
    def of(cls, normal: Trace, held: Trace) -> Learnt:
        """Learn from one clean trace, set the limits on another."""
        model, usual = learn(normal.frames), usual_counts(normal.frames)
        limit = limits(monitored(Monitor(model), held.frames))
        return cls(model, usual, limit | limits(counted(held.frames, usual)))

    def tripped(self, trace: Trace) -> dict[str, list[float]]:
        """When each detector trips, all of the monitor's together, and the plain one."""
        seen = monitored(Monitor(self.model), trace.frames)
        groups = {"all": BUS_FEATURES, **{feature: (feature,) for feature in BUS_FEATURES}}
        made = {name: alarms(seen, self.limit, features) for name, features in groups.items()}
        plain = counted(trace.frames, self.usual)
        return made | {"frequency": alarms(plain, self.limit, ("frequency",))}


def _report(name: str, trace: Trace, learnt: Learnt) -> list[Figure]:
    """Print a line for each detector; returns the figures."""
    hours = (trace.frames[-1].t_s - trace.frames[0].t_s) / 3600
    found = []
    for detector, tripped in learnt.tripped(trace).items():
        hits, events, strays = judge(trace, tripped)
        at = f"can.{name}.{detector}"
        if events:
            found.append(rate(f"{at}.detected", hits, events))
        found.append(Figure(f"{at}.false_alarms", strays / hours, "1/h"))
        share = f"{hits} of {events}" if events else ""
        print(f"{name:<10}{detector:<12}{share:>14}{strays / hours:>16.0f}")
    return found
