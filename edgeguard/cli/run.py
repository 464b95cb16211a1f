# SPDX-License-Identifier: Apache-2.0
"""`edgeguard run`: guard a source of frames and hand every decision to a sink."""

from __future__ import annotations

import contextlib
import importlib
import logging
import queue
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeguard.config import GuardConfig
from edgeguard.decision import Decision
from edgeguard.errors import EdgeguardError
from edgeguard.guard import Guard
from edgeguard.intake.sources import Frame, live, recorded
from edgeguard.output import open_sink

if TYPE_CHECKING:
    from edgeguard.output.mcu import Behind

ANSWER_S = 2.0  # recorded sources run in lockstep: a member slower than this is late there, too
Signals = Callable[[int], Mapping[str, float]]
Emit = Callable[[Decision, int], None]
Observe = Callable[[Frame], None]
Decide = Callable[[Mapping[str, float], int], Decision]

_log = logging.getLogger("edgeguard")


@click.command()
@click.argument("policy", type=click.Path(path_type=Path))
@click.option(
    "--source",
    required=True,
    help="camera:N, a video file, a folder of pictures, a recorded stream (.npz), or simulated.",
)
@click.option(
    "--sink", "sinks", multiple=True, default=("-",), show_default=True,
    help="- or a file: JSON lines; module:callable: called with (decision, t_ns).",
)  # fmt: skip
@click.option(
    "--signal", "given", multiple=True, metavar="NAME=NUMBER",
    help="A constant signal; or module:callable, called with t_ns, that returns all of them.",
)  # fmt: skip
@click.option("--camera", help="Which [camera.NAME] sees the source; not needed when there is one.")
@click.option(
    "--mcu", metavar="PORT|twin",
    help="The microcontroller at the actuators: a port (see edgeguard mcu), or twin: its firmware "
    "in this process, with a simulated vehicle. What it measures replaces --signal.",
)  # fmt: skip
@click.option("--keys", "key_file", metavar="FILE", type=click.Path(path_type=Path),
              help="Its keys, made if missing.  [~/.config/edgeguard/mcu-keys.json]")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=0.0), help="Stop after this time.")
def command(
    policy: Path,
    source: str,
    sinks: tuple[str, ...],
    given: tuple[str, ...],
    camera: str | None,
    mcu: str | None,
    key_file: Path | None,
    seconds: float | None,
) -> None:
    """Guard SOURCE with the POLICY of a guard.toml.

    Recorded sources run as fast as the machine does, cameras and whatever drives a microcontroller
    at a PORT in real time. Sources are looked at whole, or at the box that a recorded stream gives:
    finding things in a picture is not done here.
    """
    sys.path.insert(0, "")  # module:callable may lie in the working directory
    with Guard.load(policy) as guard, contextlib.ExitStack() as stack:
        if source == "simulated":
            whole = seconds is None or mcu is not None
            _fits_simulation(guard.config, alone=not given and camera is None and whole)
            camera = "front"
        name = _camera(guard.config, camera)
        signals = _signals(given)
        outputs = [(sink, open_sink(sink)) for sink in sinks]
        counts: Counter[str] = Counter()
        behind = _behind(guard, mcu, key_file, stack)

        told = ""

        def emit(decision: Decision, t_ns: int) -> None:
            nonlocal told
            counts[decision.mode.name] += 1
            if behind is not None and behind.said != told:
                told = behind.said
                click.echo(f"mcu: {told}", err=True)
            for sink, output in outputs:
                with _named(f"sink {sink}"):
                    output(decision, t_ns)

        (behind or guard).arm()
        with contextlib.suppress(KeyboardInterrupt):
            _run(guard, behind, name, source, signals, emit, seconds)
    shares = ", ".join(f"{mode} {n / counts.total():.1%}" for mode, n in counts.most_common())
    click.echo(f"{counts.total()} decisions: {shares}", err=True)


def _behind(
    guard: Guard, mcu: str | None, key_file: Path | None, stack: contextlib.ExitStack
) -> Behind | None:
    """The microcontroller between this guard and the actuators, if there is one."""
    if mcu is None:
        if key_file is not None:
            raise EdgeguardError("--keys: are those of a microcontroller; name it with --mcu")
        return None
    from edgeguard.output.mcu import Behind, InTwin, OnPort
    from firmware_bridge import keys

    given = keys.ensure(key_file or keys.default_path())
    if mcu == "twin":
        return Behind(guard, InTwin(guard.config, given))
    behind = Behind(guard, OnPort(mcu, guard.config, given))
    stack.callback(behind.close)
    return behind


def _run(
    guard: Guard, behind: Behind | None, camera: str, source: str, signals: Signals, emit: Emit,
    seconds: float | None,
) -> None:  # fmt: skip
    if source == "simulated" and behind is None:
        return _simulated(guard, emit)
    decide = guard.decide if behind is None else behind.decide
    observe = _observer(guard, camera)
    if source.startswith("camera:"):
        if not source[7:].isdigit():
            raise EdgeguardError(f"{source}: want camera:N with the camera's number")
        frames = live(int(source[7:]))
        return _real_time(guard, decide, observe, frames, signals, emit, seconds)
    rate_hz = guard.config.cameras[camera].rate_hz
    frames = _demo_frames() if source == "simulated" else recorded(source, rate_hz)
    if behind is not None and behind.real_time:
        return _real_time(guard, decide, observe, _paced(frames), signals, emit, seconds)
    if seconds is not None:
        frames = _until(frames, int(seconds * 1e9))
    _lockstep(guard, decide, observe, frames, signals, emit)


def _observer(guard: Guard, camera: str) -> Observe:
    """As `Guard.step` does: a frame that does not fit is no frame. Each kind is told once."""
    told: set[str] = set()

    def observe(frame: Frame) -> None:
        try:
            guard.observe(camera, frame.image, frame.t_ns, frame.box)
        except (TypeError, ValueError) as error:
            kind = re.sub(r"\d+", "0", str(error))
            if kind not in told:
                told.add(kind)
                _log.warning("%s: frame refused: %s", camera, error)

    return observe


def _lockstep(
    guard: Guard, decide: Decide, observe: Observe, frames: Iterable[Frame], signals: Signals,
    emit: Emit,
) -> None:  # fmt: skip
    """Simulated time: ticks up to each frame, then the frame, then wait for the members."""
    period_ns = int(guard.config.guard.period_ms * 1e6)
    now_ns, recorded_signals = 0, dict[str, float]()
    for frame in frames:
        while now_ns + period_ns <= frame.t_ns:
            now_ns += period_ns
            emit(decide({**signals(now_ns), **recorded_signals}, now_ns), now_ns)
        recorded_signals = dict(frame.signals)
        observe(frame)
        guard.wait(ANSWER_S)
    now_ns += period_ns
    emit(decide({**signals(now_ns), **recorded_signals}, now_ns), now_ns)


def _real_time(
    guard: Guard, decide: Decide, observe: Observe, frames: Iterator[Frame], signals: Signals,
    emit: Emit, seconds: float | None,
) -> None:  # fmt: skip
    """The clock drives: a thread waits for frames, the tick takes the newest and never waits."""
    sys.setswitchinterval(0.001)  # nor for a thread that computes
    period_ns = int(guard.config.guard.period_ms * 1e6)
    arrived: queue.Queue[Frame | BaseException | None] = queue.Queue()
    threading.Thread(target=_pump, args=(frames, arrived), daemon=True).start()
    end_ns = time.monotonic_ns() + int(seconds * 1e9) if seconds is not None else None
    next_ns, recorded_signals = time.monotonic_ns(), dict[str, float]()
    while end_ns is None or next_ns < end_ns:
        frame = None
        while not arrived.empty():
            frame = arrived.get_nowait()
            if frame is None:
                return
        if isinstance(frame, BaseException):
            raise frame
        if isinstance(frame, Frame):
            observe(frame)
            recorded_signals = dict(frame.signals)
        now_ns = time.monotonic_ns()
        emit(decide({**signals(now_ns), **recorded_signals}, now_ns), now_ns)
        next_ns = max(next_ns + period_ns, now_ns)
        time.sleep(max(0, next_ns - time.monotonic_ns()) / 1e9)


def _pump(frames: Iterator[Frame], into: queue.Queue[Frame | BaseException | None]) -> None:
    try:
        for frame in frames:
            into.put(frame)
        into.put(None)
    except Exception as error:  # the deciding thread raises it, and the guard closes in order
        into.put(error)


def _paced(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Recorded frames as if they came from a camera now."""
    start_ns = time.monotonic_ns()
    for frame in frames:
        t_ns = start_ns + frame.t_ns
        time.sleep(max(0, t_ns - time.monotonic_ns()) / 1e9)
        yield frame._replace(t_ns=t_ns)


def _fits_simulation(config: GuardConfig, alone: bool) -> None:
    """Raises EdgeguardError unless the demo's stream can drive this guard."""
    if not alone:
        raise EdgeguardError(
            "--source simulated: has its own camera, signals and length; leave out --camera, "
            "--signal and --seconds"
        )
    camera, channel = config.cameras.get("front"), config.channels.get("target_speed")
    looking = any(m.camera == "front" and m.runtime != "external" for m in config.members.values())
    colour = camera is not None and (camera.frame is None or camera.frame.format == "BGR")
    if channel is None or "speed" not in config.signals or not looking or not colour:
        raise EdgeguardError(
            f"{config.source}: --source simulated: wants [camera.front] in BGR with a member that "
            "looks through it, [signal.speed] and [channel.target_speed]"
        )


def _simulated(guard: Guard, emit: Emit) -> None:
    """The demo's stream of signs, with its car in the loop."""
    from edgeguard.streams.drive import PERIOD_NS, START_NS, drive
    from edgeguard.streams.stream import load
    from edgeguard.zoo import models_dir

    stream = load(models_dir() / "stream.npz")
    drive(guard, stream, watch=lambda m: emit(m.decision, START_NS + m.tick * PERIOD_NS))


def _demo_frames() -> Iterator[Frame]:
    """The pictures of the demo's stream alone: the car is the microcontroller's."""
    from edgeguard.streams.stream import RATE_HZ, load
    from edgeguard.zoo import models_dir

    stream = load(models_dir() / "stream.npz")
    for index in range(stream.frames):
        t_ns = index * 1_000_000_000 // RATE_HZ
        shot = stream.shot(index, t_ns)
        yield Frame(shot.frame, t_ns, shot.box, {})


def _until(frames: Iterator[Frame], end_ns: int) -> Iterator[Frame]:
    for frame in frames:
        if frame.t_ns > end_ns:
            return
        yield frame


def _camera(config: GuardConfig, name: str | None) -> str:
    known = ", ".join(config.cameras) or "none"
    if name is None and len(config.cameras) == 1:
        return next(iter(config.cameras))
    if name is None or name not in config.cameras:
        raise EdgeguardError(f"{config.source}: --camera: want one of the file's cameras: {known}")
    return name


def _signals(given: tuple[str, ...]) -> Signals:
    """Constants, or a callable of the user's. Raises EdgeguardError."""
    constants: dict[str, float] = {}
    for text in given:
        name, equals, number = text.partition("=")
        if not equals:
            return _callable(text)
        try:
            constants[name] = float(number)
        except ValueError:
            raise EdgeguardError(f"--signal {text}: {number!r} is not a number") from None
    return lambda t_ns: constants


def _callable(name: str) -> Signals:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the module is the user's: it may raise anything
        raise EdgeguardError(
            f"--signal {name}: {error}; want NAME=NUMBER or module:callable"
        ) from None
    if not callable(found):
        raise EdgeguardError(f"--signal {name}: is not callable")

    def signals(t_ns: int) -> Mapping[str, float]:
        with _named(f"--signal {name}"):
            given = found(t_ns)
            return {str(key): float(value) for key, value in given.items()}

    return signals


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    """What a callable of the user's raises ends the run with one line; the guard closes first."""
    try:
        yield
    except BrokenPipeError:  # the reader of stdout has what it wanted
        raise
    except Exception as error:
        raise EdgeguardError(f"{what}: {type(error).__name__}: {error}") from error
