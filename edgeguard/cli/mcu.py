# SPDX-License-Identifier: Apache-2.0
"""`edgeguard mcu`: the microcontroller's table, its firmware in QEMU, and what it says."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeguard.cli import demo_mcu
from edgeguard.cli.numbers import MOST_S, Finite
from edgeguard.written import apart
from edgeguard.zoo import models_dir

if TYPE_CHECKING:
    from firmware_bridge.session import Session

file_path = click.Path(path_type=Path, dir_okay=False)
policy_argument = click.argument("policy", metavar="GUARD.TOML", type=file_path)
policy_or_demo = click.argument(
    "policy", metavar="[GUARD.TOML]", type=file_path, required=False, default=None
)


def keys_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which keys; shared by all commands that meet a microcontroller."""
    return click.option(
        "--keys", "key_file", metavar="FILE", type=file_path,
        help="Link and operator key, made if missing.  [~/.config/edgeguard/mcu-keys.json]",
    )(command)  # fmt: skip


@click.group(epilog="Ports need the extra: pip install 'edgeguard-monitor[mcu]'.")
def command() -> None:
    """The microcontroller that stands between the guard and the actuators."""


command.add_command(demo_mcu.command, "demo")


@command.command("policy")
@policy_argument
@keys_option
@click.option("-o", "--out", type=file_path, default="mcu_table.c", show_default=True)
def policy_command(policy: Path, key_file: Path | None, out: Path) -> None:
    """Write the const table that the firmware is built with.

    The keys are in it, so only its owner may read it; keep it out of repositories.
    """
    from firmware_bridge import table
    from firmware_bridge.secret import write_secret

    mcu, keys = _mcu(policy), _keys(key_file)
    _apart("--out", out, policy, key_file)
    write_secret(out, table.c_source(mcu, keys, f"from {policy.name}").encode())
    click.echo(f"{out}: SHA-256 {table.table_hash(mcu).hex()}")


@command.command()
@policy_or_demo
@keys_option
@click.option("--build", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
              help="Where the firmware is built.  [default: a temporary folder]")  # fmt: skip
@click.option("--log", metavar="FILE", type=file_path,
              help="The plant's own log: every actuator command, as JSON lines.")  # fmt: skip
@click.option("--gdb", metavar="ADDRESS", help="Let a debugger in, as tcp::1234.")
def sim(
    policy: Path | None, key_file: Path | None, build: Path | None, log: Path | None,
    gdb: str | None,
) -> None:  # fmt: skip
    """Build the firmware for GUARD.TOML (default: the demo's) and boot it in QEMU.

    A vehicle is attached to it as a process of its own. Prints the port and runs until Ctrl-C.
    """
    import tempfile

    from firmware_bridge.sim import Sim, require_tools
    from firmware_bridge.sim import build as build_firmware

    require_tools()
    mcu, keys = _mcu(policy or models_dir() / "guard.toml"), _keys(key_file)
    _apart("--log", log, policy, key_file)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ending_in_order())
        if build is None:
            build = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeguard-mcu-")))
        click.echo("building the firmware ...", err=True)
        elf = build_firmware(mcu, keys, build)
        running = stack.enter_context(Sim(elf, log=log, gdb=gdb))
        click.echo(running.port)
        click.echo(
            f"the plant writes {running.log}\n"
            f"try, in another terminal:  edgeguard mcu monitor {running.port}\n"
            f"                           edgeguard run ... --mcu {running.port}\n"
            "Ctrl-C ends it",
            err=True,
        )
        _until_stopped({"qemu-system-arm": running.qemu, "the plant": running.plant})


@contextlib.contextmanager
def _ending_in_order() -> Iterator[None]:
    """A closed terminal and a service manager end a command as Ctrl-C does: what it built holds the
    keys, and must not stay behind. Nothing that is to be ignored (nohup) is heard."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    heard = {number: was for number, was in before.items() if was is not signal.SIG_IGN}
    for number in heard:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, was in heard.items():
            signal.signal(number, was)


def _until_stopped(processes: dict[str, Any]) -> None:
    """Wait for Ctrl-C or what ends it alike, or for one of these to end, which is an error."""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(0.2)
            for name, process in processes.items():
                if process.poll() is not None:
                    raise click.ClickException(f"{name} ended with {process.returncode}")


@command.command()
@click.argument("port")
@policy_or_demo
@keys_option
@click.option("--seconds", type=Finite(min=0.0, max=MOST_S), help="Stop after this time.")
def monitor(port: str, policy: Path | None, key_file: Path | None, seconds: float | None) -> None:
    """Show live what the microcontroller at PORT says; never arms it.

    PORT: a device, a pty, socket://HOST:PORT, rfc2217://HOST:PORT or can://INTERFACE/CHANNEL. One
    program at a time can hold it. GUARD.TOML says how the link is; default: the demo's.
    """
    from rich.console import Console
    from rich.live import Live

    from firmware_bridge.session import Session

    console = Console()
    end_s = time.monotonic() + (float("inf") if seconds is None else seconds)
    mcu, keys = _mcu(policy or models_dir() / "guard.toml"), _keys(key_file)
    period_s = mcu["link"]["period_us"] / 1e6
    with Session(port, mcu, keys) as session, contextlib.suppress(KeyboardInterrupt):
        if not console.is_terminal:
            _watch(session, period_s, end_s, _lines(session))
            return
        with Live(console=console, auto_refresh=False) as live:
            _watch(
                session, period_s, end_s, lambda: live.update(_screen(session), refresh=True), 0.1
            )


def _watch(
    session: Session, period_s: float, end_s: float, show: Callable[[], None], every_s: float = 0.0
) -> None:
    """Show now and then; the link's time passes once a period, or its rate cap refuses frames."""
    shown_s = -every_s
    while (now_s := time.monotonic()) < end_s:
        session.before()
        if now_s - shown_s >= every_s:
            show()
            shown_s = now_s
        time.sleep(max(0.0, now_s + period_s - time.monotonic()))


def _lines(session: Session) -> Callable[[], None]:
    """Without a terminal: a line for each change of what it says."""
    shown = ""

    def show() -> None:
        nonlocal shown
        line = _line(session)
        if line != shown:
            click.echo(line)
            shown = line

    return show


def _line(session: Session) -> str:
    state, boot = session.measured(), session.boot
    if state is None:
        return "silent"
    causes = ", ".join(state.causes) or "no cause"
    reset = f", last reset {boot.reason}, {boot.resets} since power" if boot else ""
    return f"{state.mode}: {causes}{reset}"


_MODE = {"NOMINAL": "green", "DEGRADED": "yellow", "FALLBACK": "dark_orange", "SAFE_STOP": "red"}


def _screen(session: Session) -> Any:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    state, boot = session.measured(), session.boot
    if state is None:
        table.add_row("", Text(_silence(session), style="dim"))
    else:
        table.add_row("mode", Text(f" {state.mode} ", style=f"bold black on {_MODE[state.mode]}"))
        table.add_row("causes", ", ".join(state.causes) or "none")
        table.add_row("measured", f"{state.speed:.2f} m/s   {state.steering:+.3f} rad")
        table.add_row("output", f"{state.output[0]:.2f} m/s   {state.output[1]:+.3f} rad")
        table.add_row("clock", f"{state.stamp_us / 1e6:.2f} s")
    if boot is not None:
        failed = f"failed {boot.self_test & 0xFFFF:#x}" if boot.self_test & 0xFFFF else "passed"
        table.add_row("reset", f"{boot.reason}, before {boot.before}; {boot.resets} since power")
        table.add_row("self-test", failed)
        table.add_row("table", boot.table.hex()[:16])
    counts = ", ".join(f"{name} {n}" for name, n in session.counts.items() if n)
    table.add_row("frames", counts or "none")
    return Panel(table, title=session.link.name, width=90)


def _silence(session: Session) -> str:
    if not session.link.connected:
        return f"gone: {session.link.failure}"
    counts = session.counts
    strange = not counts["accepted"] and any(counts.values())
    return "nothing that these keys accept" if strange else "silent"


# ------------------------------------------------------------------ shared


def _mcu(policy: Path) -> dict[str, Any]:
    from edgeguard import config

    return config.mcu_dict(config.load(policy))


def _keys(path: Path | None) -> Any:
    from firmware_bridge import keys

    return keys.ensure(path or keys.default_path())


def _apart(option: str, out: Path | None, policy: Path | None, key_file: Path | None) -> None:
    """Refuse to write over the keys, which nobody has a second time, or over the policy's files."""
    from edgeguard.config.load import files_named
    from firmware_bridge import keys

    apart(option, out, key_file or keys.default_path(), *files_named(policy))
