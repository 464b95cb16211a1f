# SPDX-License-Identifier: Apache-2.0
"""Clean drives on the calibration tracks: what detectors see where nothing is wrong, as logs that
`edgeguard calibrate` reads, and the limits that follow."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from edgeguard.config import GuardConfig, load_cards
from edgeguard.config.fixed import ONE
from edgeguard.config.policy import policy_dict
from edgeguard.config.schema import Detector
from edgeguard.config.vocabulary import CAUSES, IMAGE_FEATURES
from edgeguard.errors import EdgeguardError
from edgeguard.evidence.conformal import Debounce, track_level
from edgeguard.evidence.tracks import Stream
from edgeguard.guard import Guard
from edgeguard.inference.buffers import aligned
from edgeguard.intake.camera import Camera
from edgeguard.intake.preprocess import InputSpec
from edgeguard.streams.loops.drive import PERIOD_S, drive
from edgeguard.streams.loops.fault import Moment
from edgeguard.streams.loops.racing import Racing
from edgeguard.streams.loops.steers import Bare, Said, patient
from edgeguard.streams.loops.vehicle import U8, Vehicle
from edgeguard.written import whole

FRAMES = "frames.npz"
Reals = npt.NDArray[np.float64]
MARGIN, IMAGE_MARGIN = 1.1, 1.2
"""A limit lies a tenth further out than any clean drive came; of images, whose faults are coarse, a
fifth of their range."""
PIECE = slice(200, 700)
"""Steps whose frames are kept of each drive: ten seconds."""


@define
class Keep:
    """Watches one drive."""

    guard: Guard
    rows: list[dict[str, float]] = field(factory=list)
    frames: list[U8] = field(factory=list)
    _camera: Camera = field(init=False)

    def __attrs_post_init__(self) -> None:
        spec = InputSpec.of(next(iter(self.guard.members.values())).card.input)
        self._camera = Camera({spec: aligned(spec.shape, spec.dtype)}, "RGB")

    def __call__(self, moment: Moment, said: Said, vehicle: Vehicle) -> None:
        values = {name: self.guard.evidence(name)["value"] for name in self.guard.members}
        health, *_ = self._camera.look(vehicle.frame())
        assert health is not None
        seen = dict(zip(IMAGE_FEATURES, map(float, health.features), strict=True))
        at_s = round(len(self.rows) * PERIOD_S, 3)
        steering = said.command.steering
        self.rows.append({"t": at_s, **moment.signals, **values, **seen, "steering": steering})
        if PIECE.start <= len(self.rows) <= PIECE.stop:
            self.frames.append(vehicle.frame())


def record(
    loaded: GuardConfig, seeds: Sequence[int], folder: Path,
    shown: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[Path]:  # fmt: skip
    """A log of signals for each track, and frames.npz: x [N, 84, 96, 3], y, track.

    Logs that are there are not driven again, so the folder's name should change with whatever they
    depend on: see `kept.key`. shown: is given the tracks, and gives them back. Raises OSError, and
    EdgeguardError for a drive that left the road or did not end its lap: no limit follows from it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    logs = [folder / f"{seed}.csv" for seed in seeds]
    with Guard(patient(loaded)) as guard:
        guard.arm()
        for seed, log in zip(shown(seeds), logs, strict=True):
            if not log.is_file():
                with closing(Racing(seed)) as vehicle:
                    record_one(guard, vehicle, seed, log)
    pieces = [np.load(log.with_suffix(".npy")) for log in logs]
    track = np.repeat(np.array(seeds), [len(p) for p in pieces])
    x = np.concatenate(pieces)
    with whole(folder / FRAMES) as file:
        np.savez(file, x=x, y=np.zeros(len(x), np.int64), track=track)
    return logs


def record_one(guard: Guard, vehicle: Vehicle, seed: int, log: Path) -> None:
    """The log of one drive, and its pictures beside it. Raises as `record` does."""
    keep = Keep(guard)
    found = drive(vehicle, Bare(guard), seed, watch=keep)
    if found.off or not found.finished:
        what = f"were off the road for {found.off} steps" if found.off else "did not end their lap"
        raise EdgeguardError(f"track {seed}: the bare networks {what}, and no limit follows "
                             "from that; make networks that can drive: edgeguard lab train drive"
                             )  # fmt: skip
    with whole(log.with_suffix(".npy")) as pictures:
        np.save(pictures, np.stack(keep.frames))
    rows = io.StringIO(newline="")
    writer = csv.DictWriter(rows, list(keep.rows[0]))
    writer.writeheader()
    writer.writerows(keep.rows)
    with whole(log) as file:
        file.write(rows.getvalue().encode())


@frozen
class Reach:
    """How far clean drives came on one detector, after the debounce of its cause; and the limits
    that follow."""

    name: str
    low: float
    high: float
    below: float
    above: float
    hours: float


def reaches(loaded: GuardConfig, logs: Sequence[Path]) -> list[Reach]:
    """Of every detector on images, and every association of a difference or a sum."""
    drives = [_columns(log) for log in logs]
    found = []
    for name, detector in loaded.detectors.items():
        series = [_number(detector, columns) for columns in drives]
        if series[0] is None:
            continue
        cause = policy_dict(loaded, load_cards(loaded))["causes"][CAUSES.index(detector.raises)]
        debounce = Debounce(cause["on_us"], cause["off_us"])
        both = detector.kind == "association"  # left and right are alike
        found.append(_reach(name, [s for s in series if s is not None], debounce, both))
    return found


def _reach(name: str, series: Sequence[Reals], debounce: Debounce, both: bool) -> Reach:
    stream = Stream(1 / PERIOD_S, round(PERIOD_S * 1e6))
    high = max(_level(s, stream, debounce) for s in series)
    low = -max(_level(-s, stream, debounce) for s in series)
    if both:
        high = max(high, -low)
        low = -high
    beyond = (MARGIN - 1) * high if both else (IMAGE_MARGIN - 1) * (high - low)
    hours = sum(map(len, series)) * PERIOD_S / 3600
    return Reach(name, low, high, low - beyond, high + beyond, hours)


def _level(series: Reals, stream: Stream, debounce: Debounce) -> float:
    return track_level(np.rint(series * ONE).astype(np.int64), stream, debounce) / ONE


def _columns(log: Path) -> dict[str, Reals]:
    with log.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def _number(detector: Detector, columns: dict[str, Reals]) -> Reals | None:
    if detector.kind == "image":
        return columns[detector.feature or ""]
    if detector.kind != "association":
        return None
    a, b = (_as_compared(operand, columns) for operand in detector.between)
    return a - b if detector.relation == "difference" else a + b


def _as_compared(operand: str, columns: dict[str, Reals]) -> Reals:
    """One side of an association, step by step. The guard (native/core/border.cpp) compares before
    it takes what members say in this step: their last answers with the signals of now."""
    kind, _, name = operand.partition(".")
    return columns[name][:-1] if kind == "member" else columns[name][1:]
