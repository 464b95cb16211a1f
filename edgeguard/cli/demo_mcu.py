# SPDX-License-Identifier: Apache-2.0
"""`edgeguard mcu demo`: drive through the microcontroller in QEMU, and kill the host halfway."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from attrs import field, frozen

from edgeguard import written
from edgeguard.cli.numbers import Finite
from edgeguard.errors import EdgeguardError
from edgeguard.sandbox import command_line
from edgeguard.streams import ramp
from edgeguard.streams.ramp import Log
from edgeguard.zoo import models_dir

TRIES = 5
LOAD_S = 60.0  # models are loaded in that time
ARM_S = 10.0  # and then the microcontroller is armed and follows
MOST_SHOWN_S = 3600.0  # the whole drive is one picture
STOP_S = 12.0  # from 120 km/h at 4 m/s2 it takes 8.4 s

BUSY = (
    "is this machine busy? Host and microcontroller have to keep a loop of 10 ms; the"
    " microcontroller stops the vehicle when they do not"
)
_SAID = re.compile(r"mcu: (\w+)")


@click.command()
@click.option("--seconds", type=Finite(min=4.0, max=MOST_SHOWN_S), default=30.0, show_default=True,
              help="How long it drives; the host is killed halfway.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              default=Path("edgeguard-demo-mcu"), show_default=True,
              help="The plant's log, the decisions, the figures.")  # fmt: skip
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.svg",
              help="The timeline.  [default: timeline.svg in DIR]")  # fmt: skip
def command(seconds: float, out: Path, picture: Path | None) -> int:
    """The guard drives through a microcontroller in QEMU; halfway its process is killed.

    The firmware is built with the demo's policy and keys of its own, and boots in QEMU with a
    vehicle on its second UART. The guard reads the demo's stream of signs and drives it over a
    pty. Halfway the guard gets SIGKILL. What is shown then comes from the vehicle's own log.

    Exit code 1 if the command to the actuators did not ramp to a stop.
    """
    from firmware_bridge import keys as link_keys
    from firmware_bridge.sim import build

    click.echo("building the firmware ...", err=True)
    policy = models_dir() / "guard.toml"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edgeguard-mcu-") as folder:
        key_file = Path(folder) / "keys.json"
        elf = build(_table(policy), link_keys.create(key_file), Path(folder) / "build")
        for attempt in range(1, TRIES + 1):
            drive = _drive(elf, policy, key_file, out, seconds)
            if drive.undisturbed:
                break
            click.echo(f"attempt {attempt} of {TRIES}: {drive.trouble}; {BUSY}", err=True)
    if not drive.undisturbed:
        raise EdgeguardError(f"{drive.trouble}; {BUSY}")
    found = ramp.measure(drive.log, drive.killed_ns)
    target = picture or out / "timeline.svg"
    written.text(target, ramp.picture(drive.log, drive.killed_ns, found))
    figures = ramp.figures(found)
    _write(out / "figures.json", figures)
    for line in ramp.words(found):
        click.echo(line)
    click.echo(f"\nthe vehicle's log: {drive.log.path}\nthe timeline:      {target}")
    failed = [f for f in figures if f.holds is False]
    for figure in failed:
        click.echo(
            f"FAILED {figure.id}: {figure.value:g} {figure.unit}, want {figure.bar}", err=True
        )
    return 1 if failed else 0


def _table(policy: Path) -> dict[str, Any]:
    from edgeguard import config

    return config.mcu_dict(config.load(policy))


def _write(path: Path, figures: Sequence[Any]) -> None:
    from edgeguard import figures as shape

    shape.write(path, figures, None, ("edgeguard-monitor", "pyserial"))


class _NoDrive(Exception):
    """With the reason in words."""


@frozen
class Drive:
    """What happened, and where it stands."""

    log: Log
    killed_ns: int
    trouble: str = ""
    """Why the vehicle stopped before the host was killed."""

    @property
    def undisturbed(self) -> bool:
        """Whether the host drove until it was killed."""
        return not self.trouble


def _drive(elf: Path, policy: Path, key_file: Path, out: Path, seconds: float) -> Drive:
    from firmware_bridge.campaign.priority import first_in_line
    from firmware_bridge.sim import Sim

    log = out / "plant.jsonl"
    click.echo("booting it in QEMU; the guard loads its models ...", err=True)
    with Sim(elf, log=log) as sim, Host(policy, sim.port, key_file, out) as host:
        try:
            host.wait_heard()
            for process in (sim.qemu, sim.plant, host.process):
                first_in_line(process.pid)
            host.wait_driving()
        except _NoDrive as why:
            return Drive(Log(log, ()), 0, str(why))
        click.echo(f"driving; SIGKILL in {seconds / 2:g} s ...", err=True)
        trouble = host.watch(seconds / 2)
        killed_ns = host.kill()
        time.sleep(min(STOP_S, seconds / 2))
    return Drive(Log.read(log), killed_ns, trouble)


@frozen
class Host:
    """The guard as a process of its own: `edgeguard run`."""

    policy: Path
    port: str
    key_file: Path
    out: Path
    _running: list[subprocess.Popen[str]] = field(factory=list)
    _said: list[str] = field(factory=list)

    def __enter__(self) -> Host:
        process = subprocess.Popen(
            [
                *command_line("edgeguard.cli.main"), "run", str(self.policy),
                "--source", "simulated", "--mcu", self.port, "--keys", str(self.key_file),
                "--sink", str(self.out / "decisions.jsonl"),
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._running.append(process)
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def _listen(self) -> None:
        stderr = self._running[0].stderr
        assert stderr is not None
        for line in stderr:
            self._said.append(line.rstrip())

    @property
    def process(self) -> subprocess.Popen[str]:
        """It."""
        return self._running[0]

    def wait_heard(self) -> None:
        """Until its models are loaded and it hears the microcontroller. Raises _NoDrive."""
        self._wait("mcu: ", LOAD_S)

    def wait_driving(self) -> None:
        """Until the microcontroller follows it. Raises _NoDrive."""
        self._wait("mcu: NOMINAL", ARM_S)

    def _wait(self, words: str, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            if any(line.startswith(words) for line in list(self._said)):
                return
            if self._running[0].poll() is not None:
                break
            time.sleep(0.05)
        last = self._said[-1] if self._said else "said nothing"
        raise _NoDrive(f"the guard did not get to drive: {last}")

    def watch(self, seconds: float) -> str:
        """Let it drive for so long; returns what went wrong meanwhile, in words."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            if self._running[0].poll() is not None:
                return f"the guard ended: {self._said[-1] if self._said else ''}"
            modes = [found[0] for line in list(self._said) if (found := _SAID.match(line))]
            if "mcu: SAFE_STOP" in modes[modes.index("mcu: NOMINAL") :]:
                stop = next(s for s in reversed(self._said) if s.startswith("mcu: SAFE_STOP"))
                return f"the vehicle stopped before the host was killed ({stop[5:]})"
            time.sleep(0.05)
        return ""

    def kill(self) -> int:
        """SIGKILL to the process that decides; returns when, ns of the monotonic clock."""
        process = self._running[0]
        at_ns = time.monotonic_ns()
        process.send_signal(signal.SIGKILL)
        process.wait()
        return at_ns

    def __exit__(self, *_: object) -> None:
        """Its models' processes end by themselves; whatever did not, ends now."""
        process = self._running[0]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
