# SPDX-License-Identifier: Apache-2.0
"""`edgeguard run`: guard a source of frames and hand every decision to a sink."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import define, frozen

from edgeguard.cli import run_bus, run_record
from edgeguard.cli import run_inputs as inputs
from edgeguard.cli import run_page as page
from edgeguard.cli.bundle import trusting
from edgeguard.cli.numbers import MOST_S, Finite
from edgeguard.cli.run_outputs import Outputs
from edgeguard.config import GuardConfig, load
from edgeguard.config.load import files_read
from edgeguard.errors import EdgeguardError
from edgeguard.guard import Guard
from edgeguard.intake.sources import STREAM, Frame
from edgeguard.loop import Loop
from edgeguard.loop.loop import lasting, paced
from edgeguard.loop.realtime import prepare
from edgeguard.loop.systemd import Notify
from edgeguard.output.sinks import sink_file
from edgeguard.written import apart

if TYPE_CHECKING:
    from edgeguard.output.mcu import Behind


@frozen
class Options:
    """The command line, as click reads it."""

    policy: Path
    source: str
    sinks: tuple[str, ...]
    given: tuple[str, ...]
    camera: str | None
    mcu: str | None
    key_file: Path | None
    seconds: float | None
    realtime: bool
    page: str | None
    token_file: Path | None
    bus: str | None
    bus_learnt: Path | None
    recording: run_record.Recording
    trust: tuple[Path, ...]
    unsigned: bool


@click.command()
@click.argument("policy", type=click.Path(path_type=Path))
@click.option(
    "--source",
    required=True,
    help="camera:N, rtsp://CAMERA, gstreamer:PIPELINE, a video file, a folder of pictures, a "
    "recorded stream (.npz), or simulated.",
)
@click.option(
    "--sink", "sinks", multiple=True, default=("-",), show_default=True,
    help="- or a file: JSON lines, in place of what is in it (to append: - and >> of the shell); "
    "module:callable: called with (decision, t_ns), on the clock in a thread of its own.",
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
@click.option("--seconds", type=Finite(min=0.0, max=MOST_S), help="Stop after this time.")
@click.option(
    "--realtime", is_flag=True,
    help="On the clock, whatever the source; with locked memory, without garbage collection and "
    "with FIFO priority, as far as this process is allowed to.",
)  # fmt: skip
@click.option(
    "--page", is_flag=False, flag_value="", metavar="[HOST:PORT]",
    help="A page and Prometheus metrics, as [telemetry] says; see docs/telemetry.md.",
)  # fmt: skip
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE",
              help="With the token of the operator who may re-arm on the page.")  # fmt: skip
@click.option("--bus", metavar="can:CHANNEL",
              help="The CAN bus that detectors of kind bus watch; read only.")  # fmt: skip
@click.option("--bus-learnt", type=click.Path(path_type=Path), metavar="FILE",
              help="What is normal there; see docs/detectors.md.")  # fmt: skip
@run_record.options
@trusting
def command(**given: Any) -> None:
    """Guard SOURCE with the POLICY of a guard.toml, or of a signed bundle (.egb).

    Recorded sources run as fast as the machine does; cameras, whatever drives a microcontroller at
    a PORT, and everything with --realtime, on the clock. Sources are looked at whole, or at the box
    that a recorded stream gives: finding things in a picture is not done here.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's Ctrl-C
    options = Options(recording=run_record.taken(given), **given)
    with contextlib.ExitStack() as stack:
        run = _assemble(options, stack)
        with contextlib.suppress(KeyboardInterrupt):
            _turn(run, options)
            _check_seen(run, options)
    for lines in run.told:
        for line in lines():
            click.echo(line, err=True)


@define
class Run:
    """A loop with everybody who watches it, armed."""

    loop: Loop
    frames: Iterator[Frame]
    on_clock: bool
    told: list[Callable[[], list[str]]]  # at the end


def _assemble(options: Options, stack: contextlib.ExitStack) -> Run:
    _check_written(options)
    config = load(options.policy, trust=options.trust, unsigned=options.unsigned).isolated()
    _check_kept(options, config)
    sys.path.append("")  # module:callable may lie in the working directory, and shadows nothing
    access = page.access(config, options.page, options.token_file)
    with _rules_beside(config):
        guard = stack.enter_context(Guard(config, access.token if access else None))
    simulated = options.source == "simulated"
    if simulated:
        inputs.fits_simulation(config, alone=not options.given and options.camera is None)
    camera = inputs.which_camera(config, "front" if simulated else options.camera)
    behind = _behind(guard, options, stack)
    inputs.prove_signals(config, behind.measures if behind else ())
    car = inputs.Car(config.guard.period_ms / 1000) if simulated and behind is None else None
    signals = car.signals if car else inputs.open_signals(options.given, config)
    loop = Loop(guard, behind or guard, camera, signals)
    outputs = Outputs(options.sinks, guard, (lambda: behind.said) if behind else str)
    told = [outputs.lines, loop.timing.lines]
    loop.watchers += [car, outputs] if car else [outputs]
    frames = inputs.open_source(guard, camera, options.source)
    if access:
        told.append(page.attach(access, loop, guard, behind or guard, camera, stack))
    notify = Notify.from_environment(lambda: outputs.reached)
    on_clock = options.realtime or (behind is not None and behind.real_time)
    on_clock = on_clock or inputs.is_live(options.source)
    run_bus.attach(options.bus, options.bus_learnt, loop, guard, on_clock, stack)
    if on_clock:
        stack.enter_context(outputs.on_clock(commands_elsewhere=behind is not None))
    if behind is not None:
        told.append(lambda: run_record.confirmed(behind))
    loop.watchers += run_record.begin(guard, options.recording, camera, on_clock)
    loop.watchers += [notify] if notify else []  # the last
    (behind or guard).arm()
    if not options.source.endswith(STREAM):  # which may bring signals of its own
        measured = behind.measures if behind else ("speed",) if car else ()
        outputs.say(inputs.missing(config, options.given, measured))
    return Run(loop, frames, on_clock, told)


@contextlib.contextmanager
def _rules_beside(config: GuardConfig) -> Iterator[None]:
    """A rule of the user's own may lie beside its guard.toml. Not beside a bundle, in which no code
    is signed; and only while rules are made, since workers get the path that is there later."""
    folder = str(config.source.absolute().parent)
    if config.bundle is not None or folder in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # a module of the user's may have changed the path
            sys.path.remove(folder)


def _check_written(options: Options) -> None:
    """Raises EdgeguardError, before anything is opened, for an output that would replace what is
    read, or a log that is there already."""
    key_file = _keys(options) if options.mcu else options.key_file
    read = (options.policy, Path(options.source), options.token_file, key_file)
    for name in options.sinks:
        apart("--sink", sink_file(name), *read, options.bus_learnt)
    run_record.check(options.recording, options.sinks)


def _check_kept(options: Options, config: GuardConfig) -> None:
    """Raises EdgeguardError for a sink that would replace what guard.toml names."""
    read = (*options.trust, *files_read(config))
    for name in options.sinks:
        apart("--sink", sink_file(name), *read)


def _turn(run: Run, options: Options) -> None:
    seconds, is_live = options.seconds, inputs.is_live(options.source)
    if run.on_clock:
        end_ns = time.monotonic_ns() + int(seconds * 1e9) if seconds is not None else None
        frames = lasting(run.frames) if is_live else paced(run.frames)
        run.loop.real_time(frames, end_ns, _prepare if options.realtime else lambda: None)
    elif seconds is None:
        run.loop.lockstep(run.frames)
    else:
        run.loop.lockstep(inputs.until(run.frames, int(seconds * 1e9)))


def _check_seen(run: Run, options: Options) -> None:
    """Raises EdgeguardError for a recording that ended without a frame that the guard took, since
    none fitted, or all went by before the first tick: its decisions say nothing about the guard."""
    ended = options.seconds is None and not inputs.is_live(options.source)
    if ended and not run.loop.frames:
        raise EdgeguardError(
            f"{options.source}: ended, and the guard took none of its frames; they have to fit"
            f" [camera.NAME] of {options.policy}: see the warnings above"
        )


def _prepare() -> None:
    for refused in prepare():
        click.echo(f"--realtime: {refused}", err=True)


def _keys(options: Options) -> Path:
    from firmware_bridge import keys

    return options.key_file or keys.default_path()


def _behind(guard: Guard, options: Options, stack: contextlib.ExitStack) -> Behind | None:
    """The microcontroller between this guard and the actuators, if there is one."""
    if options.mcu is None:
        if options.key_file is not None:
            raise EdgeguardError("--keys: are those of a microcontroller; name it with --mcu")
        return None
    from edgeguard.output.mcu import Behind, InTwin, OnPort
    from firmware_bridge import keys

    given = keys.ensure(_keys(options))
    if options.mcu == "twin":
        return Behind(guard, InTwin(guard.config, given))
    behind = Behind(guard, OnPort(options.mcu, guard.config, given))
    stack.callback(behind.close)
    return behind
