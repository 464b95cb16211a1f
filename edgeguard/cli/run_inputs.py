# SPDX-License-Identifier: Apache-2.0
"""What `edgeguard run` is told to look at: the source of frames, the camera, the signals."""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from edgeguard.config import GuardConfig
from edgeguard.decision import Decision
from edgeguard.errors import EdgeguardError
from edgeguard.guard import Guard
from edgeguard.intake import decoder, rtsp
from edgeguard.intake.sources import STREAM, Frame, reopened
from edgeguard.loop import Signals

CAMERA, PIPELINE, RTSP = "camera:", "gstreamer:", "rtsp://"

_log = logging.getLogger("edgeguard")


def is_live(source: str) -> bool:
    """Whether its frames are of now."""
    return source.startswith((CAMERA, PIPELINE, RTSP))


def open_source(guard: Guard, camera: str, source: str) -> Iterator[Frame]:
    """Its frames, as [camera.NAME] says they are. Raises EdgeguardError."""
    if source == "simulated":
        return _demo_frames()
    if is_live(source):
        return _live(guard, camera, source)
    if not source.endswith(STREAM):
        _decoded_colours(guard.config, camera)
    return decoder.confined(source, guard.config.cameras[camera].rate_hz, guard.event)


def _live(guard: Guard, camera: str, source: str) -> Iterator[Frame]:
    frame = guard.config.cameras[camera].frame
    fits = _fits(guard.config, camera)
    if source.startswith(PIPELINE):
        pixels = frame.format if frame else "BGR"
        found = _pipeline(source.removeprefix(PIPELINE), pixels)
        return _fitting(found, pixels, fits) if fits else found
    _decoded_colours(guard.config, camera)
    if source.startswith(RTSP):
        return reopened(rtsp.name(source), lambda: decoder.network(source, guard.event, fits))
    number = source.removeprefix(CAMERA)
    if not re.fullmatch("[0-9]{1,4}", number):
        raise EdgeguardError(f"{source}: want camera:N with the camera's number")
    size = (frame.width, frame.height) if frame else None
    return reopened(source, lambda: decoder.camera(int(number), guard.event, size, fits))


def _pipeline(text: str, pixels: str) -> Iterator[Frame]:
    """In this process: elements of a pipeline open whatever devices and sockets they like, and find
    their plugins by running programs, so nothing could be taken from a process for them."""
    from edgeguard.adapters.gstreamer import frames

    return frames(text, pixels)


def _decoded_colours(config: GuardConfig, camera: str) -> None:
    """Raises EdgeguardError when guard.toml says that the colours of what we decode are others."""
    frame = config.cameras[camera].frame
    if frame is not None and frame.format != "BGR":
        raise EdgeguardError(
            f'{config.source}: camera.{camera}.frame.format: is "{frame.format}", but what is'
            ' decoded here has its colours in the order BGR: write "BGR" for this --source'
        )


def _fits(config: GuardConfig, camera: str) -> decoder.Fits | None:
    """Refuses frames that have not the size that guard.toml says, if it says one: they come from
    another camera, or in another mode. Recordings may be scaled."""
    frame = config.cameras[camera].frame
    if frame is None:
        return None

    def fits(width: int, height: int) -> None:
        if (width, height) != (frame.width, frame.height):
            raise EdgeguardError(
                f"{config.source}: camera.{camera}.frame: says {frame.width} x {frame.height}, the"
                f" camera gives {width} x {height}: change its mode, or width and height"
            )

    return fits


def _fitting(frames: Iterator[Frame], pixels: str, fits: decoder.Fits) -> Iterator[Frame]:
    for found in frames:
        height, width = found.image.shape[:2]
        fits(width, height * 2 // 3 if pixels == "NV12" else height)
        yield found


class Car:
    """The demo's car, which follows what the guard commands."""

    def __init__(self, period_s: float) -> None:
        from edgeguard.streams.stream import load
        from edgeguard.streams.vehicle import Car
        from edgeguard.zoo import models_dir

        self._car = Car(speed=load(models_dir() / "stream.npz").initial_speed)
        self._period_s = period_s

    def signals(self, t_ns: int) -> Mapping[str, float]:
        """What its sensors say."""
        return {"speed": self._car.speed}

    def saw(self, frame: Frame) -> None:
        """It has no eyes."""

    def decided(self, decision: Decision, t_ns: int) -> None:
        """Drive on."""
        self._car.step(decision.command["target_speed"], self._period_s)


def fits_simulation(config: GuardConfig, alone: bool) -> None:
    """Raises EdgeguardError unless the demo's stream can drive this guard."""
    if not alone:
        raise EdgeguardError(
            "--source simulated: has its own camera and signals; leave out --camera and --signal"
        )
    camera, channel = config.cameras.get("front"), config.channels.get("target_speed")
    looking = any(m.camera == "front" and m.runtime != "external" for m in config.members.values())
    colour = camera is not None and (camera.frame is None or camera.frame.format == "BGR")
    if channel is None or "speed" not in config.signals or not looking or not colour:
        raise EdgeguardError(
            f"{config.source}: --source simulated: wants [camera.front] in BGR with a member that "
            "looks through it, [signal.speed] and [channel.target_speed]"
        )


def _demo_frames() -> Iterator[Frame]:
    """The pictures of the demo's stream of signs."""
    from edgeguard.streams.stream import RATE_HZ, load
    from edgeguard.zoo import models_dir

    stream = load(models_dir() / "stream.npz")
    for index in range(stream.frames):
        t_ns = index * 1_000_000_000 // RATE_HZ
        shot = stream.shot(index, t_ns)
        yield Frame(shot.frame, t_ns, shot.box, {})


def until(frames: Iterator[Frame], end_ns: int) -> Iterator[Frame]:
    for frame in frames:
        if frame.t_ns > end_ns:
            return
        yield frame


def which_camera(config: GuardConfig, name: str | None) -> str:
    known = ", ".join(config.cameras) or "none"
    if name is None and len(config.cameras) == 1:
        return next(iter(config.cameras))
    if name is None or name not in config.cameras:
        raise EdgeguardError(f"{config.source}: --camera: want one of the file's cameras: {known}")
    return name


def prove_signals(config: GuardConfig, measured: Iterable[str]) -> None:
    """Raises EdgeguardError for a signal that has to be authenticated and that no microcontroller
    measures."""
    alone = [n for n, s in config.signals.items() if s.authenticated and n not in measured]
    if alone:
        raise EdgeguardError(
            f"{config.source}: signal.{alone[0]}: has to be authenticated, and nothing here does"
            " that, so it would never be there; a microcontroller does it for what it measures:"
            " --mcu"
        )


def open_signals(given: tuple[str, ...], config: GuardConfig) -> Signals:
    """Constants, or a callable of the user's. Raises EdgeguardError, also for both: a constant
    would stand in for a callable that fails, whose silence has to stop the vehicle; and for a
    constant that would be INPUT_INVALID on every tick."""
    constants: dict[str, float] = {}
    for text in given:
        name, equals, number = text.partition("=")
        if not equals and len(given) > 1:
            raise EdgeguardError(
                f"--signal {text}: a callable returns all signals, so it stands alone; let it"
                " return what the other --signal say as well"
            )
        if not equals:
            return _callable(text)
        if name in constants:
            raise EdgeguardError(f"--signal {text}: {name} is given twice; give it once")
        try:
            constants[name] = float(number)
        except ValueError:
            hint = f"; a callable stands alone: --signal {number}" if ":" in number else ""
            raise EdgeguardError(f"--signal {text}: {number!r} is not a number{hint}") from None
        _check_constant(text, name, constants[name], config)
    return lambda t_ns: constants


def _check_constant(text: str, name: str, value: float, config: GuardConfig) -> None:
    signal = config.signals.get(name)
    if signal is not None and not signal.range.low <= value <= signal.range.high:
        raise EdgeguardError(
            f"--signal {text}: signal.{name}.range of {config.source} is [{signal.range.low:g},"
            f" {signal.range.high:g}]: outside of it {name} is INPUT_INVALID on every tick"
        )
    if not math.isfinite(value):
        raise EdgeguardError(f"--signal {text}: is no finite number")


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

    return _Asked(name, found)


class _Asked:
    """What a callable of the user's says. One that raises says nothing: that is INPUT_INVALID, and
    the guard stops the vehicle, which an end of the run would not."""

    def __init__(self, name: str, said: Callable[[int], Mapping[str, float]]) -> None:
        self._name, self._said = name, said
        self._told: set[str] = set()

    def __call__(self, t_ns: int) -> Mapping[str, float]:
        """Each kind of failure is told once."""
        try:
            return {str(key): value for key, value in self._said(t_ns).items()}
        except Exception as error:
            kind = type(error).__name__
            if kind not in self._told:
                self._told.add(kind)
                _log.warning("--signal %s: %s: %s", self._name, kind, _text(error))
            return {}


def _text(error: Exception) -> str:
    try:
        return str(error)[:500]
    except Exception:  # of an exception of the user's
        return "no message"


def missing(config: GuardConfig, given: tuple[str, ...], measured: Iterable[str]) -> str:
    """Which declared signals nothing gives, so that the vehicle will stand still; empty where there
    is none. given: as --signal names them; what a callable will say is not known."""
    names = {text.partition("=")[0] for text in given} | set(measured)
    absent = [name for name in config.signals if name not in names]
    if not absent or not all("=" in text for text in given):
        return ""
    return (
        f"{config.source}: nothing gives signal.{', signal.'.join(absent)}: INPUT_INVALID on every"
        f" tick; --signal {absent[0]}=NUMBER does"
    )


@contextlib.contextmanager
def named(what: str) -> Iterator[None]:
    """What a callable of the user's raises ends the run with one line; the guard closes first."""
    try:
        yield
    except BrokenPipeError:  # the reader of stdout has what it wanted
        raise
    except Exception as error:
        raise EdgeguardError(f"{what}: {type(error).__name__}: {error}") from error
