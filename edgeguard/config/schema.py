# SPDX-License-Identifier: Apache-2.0
"""The tables of guard.toml, one frozen class each; numbers are in the units the user wrote.

A field's name is its key (a trailing underscore is dropped: `raise_` is `raise`), its type says
which values it takes, and `why` what its absence would mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from attrs import Factory, evolve, field, frozen

from edgeguard.config import vocabulary as words


@frozen
class Bounds:
    """Which finite numbers a key takes, and the reason for it."""

    low: float = -32767.0  # what the decision core can hold: Q16.16
    high: float = 32767.0
    above: float | None = None  # like low, but itself refused
    unit: str = ""

    def problem(self, value: float) -> str | None:
        """Say what is wrong with a finite value, or None."""
        unit = f" {self.unit}" if self.unit else ""
        if self.above is not None and value <= self.above:
            return f"is {value:g}; must be above {self.above:g}{unit}"
        if value < self.low:
            return f"is {value:g}; must be at least {self.low:g}{unit}"
        if value > self.high:
            return f"is {value:g}; must be at most {self.high:g}{unit}"
        return None


@frozen
class OneOf:
    """One word out of a few."""

    words: tuple[str, ...]


Number = Annotated[float, Bounds()]
Positive = Annotated[float, Bounds(above=0.0)]
NotNegative = Annotated[float, Bounds(low=0.0)]
Share = Annotated[float, Bounds(above=0.0, high=1.0)]
Hertz = Annotated[float, Bounds(low=0.01, high=10_000.0, unit="Hz")]
PeriodMs = Annotated[float, Bounds(low=0.1, high=1_000.0, unit="ms")]
TimeMs = Annotated[float, Bounds(low=0.01, high=600_000.0, unit="ms")]
GapMs = Annotated[float, Bounds(low=0.01, high=60_000.0, unit="ms")]  # native/core/policy.c
DelayMs = Annotated[float, Bounds(low=0.0, high=600_000.0, unit="ms")]
Count = Annotated[int, Bounds(low=0, high=words.MOST_LABELS)]
Pixels = Annotated[int, Bounds(low=1, high=16_384, unit="pixels")]
Quorum = Annotated[int, Bounds(low=1, high=words.MOST["member"])]
Frames = Annotated[int, Bounds(low=1, high=words.MOST_FRAMES)]
Unit = Annotated[str, OneOf(words.UNITS)]
Calibrated = Literal["calibrated"]
Hold = Literal["hold"]
FEATURES = tuple(dict.fromkeys(f for fs in words.DETECTOR_FEATURES.values() for f in fs))
CAUSES_OF_DETECTORS = tuple(
    dict.fromkeys(c for causes in words.DETECTOR_CAUSES.values() for c in causes)
)


@frozen
class Range:
    """Written as `[low, high]`."""

    low: float
    high: float


@frozen
class Frame:
    """Size and pixel format of a camera's frames."""

    width: Pixels
    height: Pixels
    format: Annotated[str, OneOf(words.FORMATS)] = "BGR"


@frozen
class Guard:
    """`[guard]`"""

    name: str
    period_ms: PeriodMs = field(metadata={"why": "the control period scales every rate"})
    max_gap_ms: GapMs | None = None
    calibration: str | None = None


@frozen
class Camera:
    """`[camera.NAME]`"""

    rate_hz: Hertz = field(metadata={"why": "without it nobody knows when a frame is missing"})
    max_age_ms: TimeMs = field(metadata={"why": "without it an old picture stays trusted"})
    frame: Frame | None = None


@frozen
class Signal:
    """`[signal.NAME]`"""

    unit: Unit = field(metadata={"why": "name it, so that mismatches are found"})
    range: Range = field(metadata={"why": "without it any reading is believed"})
    authenticated: bool = False  # absent unless its sender was proved


@frozen
class Rearm:
    """`[rearm]`: leaving SAFE_STOP needs this standstill."""

    standstill_signal: str = field(metadata={"why": "re-arming waits for standstill"})
    standstill_below: Positive = field(metadata={"why": "re-arming waits for standstill"})


@frozen
class Controller:
    """`[controller]`"""

    budget_ms: TimeMs = 2.0


@frozen
class Grant:
    """What a member may suggest: operations by channel. Written as a list or a table."""

    operations: dict[str, tuple[str, ...]]


@frozen
class Member:
    """`[member.NAME]`"""

    deadline_ms: TimeMs = field(metadata={"why": "without it a late result is used as fresh"})
    max_age_ms: TimeMs = field(metadata={"why": "without it an old suggestion keeps its vote"})
    may_suggest: Grant = field(metadata={"why": "a member may do nothing that is not granted"})
    in_modes: tuple[Annotated[str, OneOf(words.SEVERITIES)], ...] = words.SEVERITIES
    camera: str | None = None  # external members may come without one
    model: str | None = None
    card: str | None = None
    runtime: Annotated[str, OneOf(("onnx", "litert", "tflite", "external"))] = "onnx"
    providers: tuple[str, ...] = ()
    delegates: tuple[str, ...] = ()
    isolation: Annotated[str, OneOf(("none", "process"))] | None = None
    process: str | None = None  # members that name the same one share it
    max_rail: Count | None = None
    min_distinct: Annotated[int, Bounds(low=1, high=3)] | None = None

    @property
    def apart(self) -> bool:
        """Whether it runs in a worker process; who does not say so gets one in `edgeguard run`."""
        return self.isolation == "process" or (self.isolation is None and self.process is not None)


@frozen
class Demand:
    """The evidence that an operation asks for."""

    certainty: Share | Calibrated = field(
        metadata={"why": 'without it a guess would pass; a share, or "calibrated"'}
    )
    quorum: Quorum = field(metadata={"why": "without it one member would decide alone"})
    frames: Frames = 1  # in a row, on which each of them says so


@frozen
class Limits:
    """A `degraded` envelope."""

    range: Range
    rise: Positive = field(metadata={"why": "without it the channel may jump in one step"})
    fall: Positive = field(metadata={"why": "without it the channel may drop in one step"})


@frozen
class Row:
    """One row of a speed-dependent `table`; limits between rows are interpolated."""

    speed: Number
    range: Range
    rise: Positive = field(metadata={"why": "without it the channel may jump in one step"})
    fall: Positive = field(metadata={"why": "without it the channel may drop in one step"})


@frozen
class Fallback:
    """The rule-based controller of a channel and its parameters."""

    controller: str
    parameters: dict[str, Any] = Factory(dict)


@frozen(kw_only=True)
class Channel:
    """`[channel.NAME]`"""

    kind: Annotated[str, OneOf(words.CHANNEL_KINDS)] = "label"
    unit: Unit = field(metadata={"why": "name it, so that mismatches are found"})
    range: Range = field(metadata={"why": "without it any command would pass"})
    rise: Positive = field(metadata={"why": "without it the channel may jump in one step"})
    fall: Positive = field(metadata={"why": "without it the channel may drop in one step"})
    stop: Number = field(metadata={"why": "without it SAFE_STOP has no command"})
    fallback: Fallback = field(metadata={"why": "without it nothing commands in FALLBACK"})
    raise_: Demand = field(metadata={"why": "say which evidence raising the command asks for"})
    lower: Demand = field(metadata={"why": "say which evidence lowering the command asks for"})
    measured: str | None = None
    dispersion: NotNegative | None = None
    degraded: Limits | None = None
    table: tuple[Row, ...] = ()
    table_signal: str | None = None
    means: dict[str, Number | Hold] = Factory(dict)

    @property
    def demands(self) -> dict[str, Demand]:
        """By operation, in the order of ``words.OPERATIONS``."""
        return dict(zip(words.OPERATIONS, (self.raise_, self.lower), strict=True))


@frozen
class Detector:
    """`[detector.NAME]`; which keys it takes depends on its kind, see docs/detectors.md."""

    kind: Annotated[str, OneOf(tuple(words.DETECTOR_FEATURES))]
    feature: Annotated[str, OneOf(FEATURES)] | None = None
    cause: Annotated[str, OneOf(CAUSES_OF_DETECTORS)] | None = None
    camera: str | None = None
    member: str | None = None
    between: tuple[str, ...] = ()
    relation: Annotated[str, OneOf(words.RELATIONS)] | None = None
    scale: Number | Calibrated | None = None
    offset: Number | Calibrated | None = None
    delay_ms: DelayMs | None = None
    least: Positive | None = None
    above: Number | Calibrated | None = None
    below: Number | Calibrated | None = None
    max_age_ms: TimeMs | None = None
    max_false_trips_per_hour: Annotated[float, Bounds(above=0.0)] | None = None

    @property
    def raises(self) -> str:
        """The cause that it raises."""
        return self.cause or words.DETECTOR_CAUSES[self.kind][0]

    @property
    def by_answer(self) -> bool:
        """Whether its number is made of each answer of its member, beside the kernels."""
        return self.kind == "history" or self.feature == words.BOXES


@frozen
class CauseRow:
    """`[cause.NAME]`: what a cause does, after how long, and what ends it."""

    severity: Annotated[str, OneOf(words.SEVERITIES)]
    on_ms: DelayMs
    off_ms: DelayMs
    clears: Annotated[str, OneOf(words.CLEARS)]
    asks_operator: bool = False


@frozen
class Mcu:
    """`[mcu]`: the microcontroller between the guard and the actuators, and the link to it."""

    speed: str | None = None  # the channels and signals that it owns; see config/mcu.py
    steering: str | None = None
    speed_signal: str | None = None
    steering_signal: str | None = None
    link: Annotated[str, OneOf(words.LINKS)] = "serial"
    authenticated: bool = True
    max_command_age_ms: TimeMs | None = None


@frozen
class Telemetry:
    """`[telemetry]`: the page and the metrics of `edgeguard run --page`."""

    disclosure: Annotated[str, OneOf(words.DISCLOSURES)] = "label"
    host: str = "127.0.0.1"
    port: Annotated[int, Bounds(low=1, high=65_535)] = 9464
    token_file: str | None = None  # of the operator who may re-arm


@frozen
class GuardConfig:
    """A whole guard.toml: valid, with every cause filled in; `source` is the file as named,
    `content` what was in it when it was read, which a log vouches for."""

    source: Path
    content: bytes = field(eq=False, repr=False)
    guard: Guard
    cameras: dict[str, Camera]
    signals: dict[str, Signal]
    rearm: Rearm | None
    controller: Controller
    members: dict[str, Member]
    channels: dict[str, Channel]
    detectors: dict[str, Detector]
    causes: dict[str, CauseRow]
    mcu: Mcu | None = None
    bundle: Any = None  # the opened bundle that it came from; see edgeguard.bundle
    telemetry: Telemetry = Factory(Telemetry)
    temperatures: dict[str, float] = Factory(dict)  # by member, from the calibration file
    fits: dict[tuple[str, str], dict[str, Any]] = Factory(dict)  # arrays: see config.calibration

    def isolated(self) -> GuardConfig:
        """The same with a worker process for every member that does not say otherwise."""
        members = {
            name: evolve(m, isolation=m.isolation or "process") if m.runtime != "external" else m
            for name, m in self.members.items()
        }
        return evolve(self, members=members)
