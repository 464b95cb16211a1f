# SPDX-License-Identifier: Apache-2.0
"""The `edgeguard` command: finds its subcommands by name and imports only the one that runs."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import select
import sys
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from itertools import pairwise
from typing import Any

import click

from edgeguard import __version__
from edgeguard.errors import EdgeguardError

DISTRIBUTION = "edgeguard-monitor"
FAILED = 2
ABORTED = 130  # as a shell says of SIGINT
READER_LEFT = 141  # as a shell says of SIGPIPE; 0 and 1 are verdicts, and nobody heard one
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

COMMANDS = {
    "init": "Write a card, golden vectors and a guard.toml for a classifier.",
    "check": "Check a guard.toml and print the whole behaviour as tables.",
    "run": "Guard a camera, a video, a folder of images or a recorded stream.",
    "verify-log": "Check that a recorded log was not changed.",
    "replay": "Compute every decision of a log again, and compare.",
    "explain": "Why the mode changed, out of a log.",
    "demo": "Drive past real traffic signs while things go wrong.",
    "drive": "Networks steer a racing car while something goes wrong (extra `drive`).",
    "calibrate": "Fit temperatures and thresholds on calibration tracks.",
    "inject": "Make faults happen and judge what reaches the actuator.",
    "bench": "Print what the guard costs.",
    "mcu": "The microcontroller behind the guard: its table, its firmware, its state.",
    "bundle": "Signed bundles: verify one, make the keys that sign them.",
    "lab": "Train, attack, defend, verify and evaluate models (extra `lab`).",
}

# Which extra brings a package that a command could not import.
EXTRAS = {
    "onnxruntime": "onnx",
    "ai_edge_litert": "litert",
    "tflite_runtime": "tflite",
    "cv2": "images",
    "matplotlib": "plots",
    "serial": "mcu",
    "cffi": "mcu",
    "can": "can",
    "prometheus_client": "telemetry",
    "mcap": "record",
    "zstandard": "record",
    "cryptography": "record",
    "gymnasium": "drive",
    "Box2D": "drive",
    "PIL": "lab",
    "scipy": "lab",
    "sklearn": "lab",
    "pymavlink": "mavlink",
    "cantools": "can",
    "torch": "lab",
    "onnx": "lab",
    "distributed": "dask",
    "art": "rivals",
    "foolbox": "rivals",
    "tqdm": "lab",
    "ai_edge_quantizer": "lab-tflite",
    "litert_torch": "lab-tflite",
}


class MissingExtra(EdgeguardError):
    """A command needs a package that is not installed."""

    def __init__(self, error: ModuleNotFoundError, command: str) -> None:
        package = (error.name or "").partition(".")[0]
        extra = EXTRAS.get(package)
        advice = f"pip install '{DISTRIBUTION}[{extra}]'" if extra else f"pip install {package}"
        super().__init__(f"edgeguard {command}: needs {package}; {advice}")


class ReaderLeft(Exception):
    """Of stdout or stderr. As an OSError click would make exit code 1 of it."""


class Commands(click.Group):
    """Subcommands by name: `edgeguard.cli.NAME.command`, imported when asked for."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Prints --help and --version. Raises ReaderLeft."""
        with _heard():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Raises ReaderLeft."""
        with _heard():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = f"edgeguard.cli.{cmd_name.replace('-', '_')}"
        try:
            return _command(importlib.import_module(module))
        except ModuleNotFoundError as error:
            if error.name == module:
                raise click.ClickException(f"edgeguard {cmd_name} is not in this build") from None
            if (error.name or "").startswith("edgeguard"):
                raise
            raise MissingExtra(error, cmd_name) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from difflib import get_close_matches

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


def _command(module: Any) -> click.Command:
    command = module.command
    assert isinstance(command, click.Command)
    return command


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"edgeguard {__version__}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
def cli() -> None:
    """Act on neural networks only while there is evidence that they can be trusted."""


def _sentence(error: Exception, command: str) -> str | None:
    """What the user did wrong, in words; None for an error of our own."""
    if isinstance(error, OSError):  # over a file that the user named
        if error.filename is None:
            return f"output: {error.strerror}" if error.errno in FULL else None
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, ModuleNotFoundError):
        known = (error.name or "").partition(".")[0] in EXTRAS
        return str(MissingExtra(error, command)) if known else None
    return str(error)


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        ours = select.poll()
        for fd in (1, 2):
            ours.register(fd, 0)
        if ours.poll(0):  # they report nothing else than that
            raise ReaderLeft from error
        raise EdgeguardError("the other end of a pipe or a connection was closed") from error


def _silence(*fds: int) -> None:
    """What is still to be written there goes nowhere: else Python complains of it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for fd in fds:
        os.dup2(nowhere, fd)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; what a user did wrong ends in a message and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that lacks a letter shows ? for it
            stream.reconfigure(errors="replace")
    try:
        with _heard():
            status = _run(argv)
    except ReaderLeft:
        _silence(1, 2)
        status = READER_LEFT
    sys.exit(status if isinstance(status, int) else 0)


def _run(argv: Sequence[str] | None) -> object:
    """The exit code, if it is a number. Raises ReaderLeft or BrokenPipeError."""
    try:
        return cli.main(args=argv, prog_name="edgeguard", standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        return _aborted()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:
        if _broke_import(error):
            return _aborted()
        known = isinstance(error, EdgeguardError | ModuleNotFoundError | OSError)
        sentence = _sentence(error, (argv or sys.argv[1:])[0]) if known else None
        if sentence is None:
            raise
        if isinstance(error, OSError) and error.filename is None:
            _silence(1)
        click.echo(sentence, err=True)
        return FAILED


def _aborted() -> int:
    click.echo("aborted", err=True)
    return ABORTED


def _broke_import(error: BaseException) -> bool:
    """Whether it is Ctrl-C while a package was imported: compiled ones say that they could not be
    imported, and we then that they have to be installed."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    return any(
        isinstance(one, ImportError) and isinstance(cause, KeyboardInterrupt)
        for one, cause in pairwise(chain)
    )
