# SPDX-License-Identifier: Apache-2.0
"""The firmware in QEMU, with a vehicle on its second UART: a microcontroller without a board."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeguard.errors import EdgeguardError
from edgeguard.sandbox import command_line
from firmware_bridge.keys import Keys
from firmware_bridge.secret import write_secret
from firmware_bridge.table import c_source

MACHINE = "mps2-an386"
TOOLS = {
    "make": "make",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
}
START_S = 20.0
NO_ESCAPE = ("-echr", "256")  # matches no byte, so that the multiplexer keeps its hands off

_HERE = Path(__file__).resolve().parent
_UNFIT = re.compile(r"[^\w@+,./=~-]")  # make takes these apart, quoted or not
_PTY = re.compile(r"char device redirected to (\S+) \(label serial0(?:-base)?\)")


def missing_tools() -> str | None:
    """The line that brings what is not there; None when all is."""
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    return f"apt-get install -y {' '.join(missing)}" if missing else None


def require_tools() -> None:
    """Raises EdgeguardError with what to install."""
    advice = missing_tools()
    if advice:
        raise EdgeguardError(f"the firmware cannot be built and run here: {advice}")


def _with_us() -> list[str]:
    tool = shutil.which("setpriv")
    return [tool, "--pdeathsig", "TERM"] if tool else []


def _on_one_core() -> list[str]:
    """QEMU's two threads take turns byte by byte: between cores that costs four times as much."""
    tool = shutil.which("taskset")
    return [tool, "--cpu-list", str(max(os.sched_getaffinity(0)))] if tool else []


def _uart(backend: str, name: str) -> list[str]:
    """With a multiplexer in between, for its buffer: without it every byte received waits for a
    round of QEMU's main loop."""
    return ["-chardev", f"{backend},id={name},mux=on", "-serial", f"chardev:{name}"]


def _core() -> Path:
    """The sources of the core: of the repository, or those that came with the wheel."""
    for folder in (_HERE.parent / "native" / "core", _HERE / "_core"):
        if (folder / "decide.c").is_file():
            return folder
    raise EdgeguardError(f"{_HERE}: the sources of the decision core did not come along")


def sources() -> list[Path]:
    """What the image is made from, but for the table."""
    kinds = {".c", ".h", ".ld", ".mk"}
    files = (_HERE / "mcu").rglob("*")
    found = [f for f in files if f.suffix in kinds or f.name == "Makefile"]
    core = _core()
    return sorted([*found, *core.glob("*.[ch]"), *core.glob("include/**/*.h")])


def _check_paths(out: Path) -> None:
    """Raises EdgeguardError: what make says of a space names neither it nor the folder."""
    install = "install edgeguard in another folder"
    ways = {out: "build in another folder (--build)", _HERE: install, Path(sys.executable): install}
    for path, way in ways.items():
        found = _UNFIT.search(str(path))
        if found:
            raise EdgeguardError(f"{path}: make takes no {found[0]!r} in a path; {way}")


def build(mcu: Mapping[str, Any], keys: Keys, out: Path, board: str = "qemu_mps2") -> Path:
    """Compile the firmware with the table of a guard.toml; returns the ELF file.

    out: made if it is not there; whatever is put there, only its owner may read, since the image
    holds the keys. Raises EdgeguardError with what to install, or with what the compiler said.
    """
    out = out.resolve()
    _check_paths(out)
    require_tools()
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    table = out / "mcu_table.c"
    write_secret(table, c_source(mcu, keys).encode())
    done = subprocess.run(
        [
            "make", "-C", str(_HERE / "mcu"), f"BOARD={board}", f"TABLE={table}",
            f"CORE={_core()}", f"OUT={out}", f"PYTHON={sys.executable}",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise EdgeguardError(f"{out}: the firmware does not build: {' '.join(last)}")
    return out / "firmware.elf"


class Sim:
    """QEMU and the plant, two processes of their own: neither ends with the host's guard.

    Where setpriv is there they end with the process that made them, however that ends.
    """

    def __init__(
        self, elf: Path, *, log: Path | None = None, speed: float = 0.0, gdb: str | None = None
    ) -> None:
        """log: where the plant writes every actuator command; speed: of the vehicle at the start,
        m/s; gdb: where QEMU listens for a debugger, as `tcp::1234`. Raises EdgeguardError, and
        OSError where there can be no such log."""
        self._folder = tempfile.TemporaryDirectory(prefix="edgeguard-mcu-")
        folder = Path(self._folder.name)
        self.log = log or folder / "plant.jsonl"
        self._processes: list[subprocess.Popen[Any]] = []
        socket = folder / "plant"
        try:
            self.log.open("w").close()
            self._start_plant(socket, speed)
            self.port = self._start_qemu(elf, socket, folder / "qemu.log", gdb)
            """The pty of the link."""
            self._await_plant()
        except BaseException:
            self.close()
            raise

    def _start_plant(self, socket: Path, speed: float) -> None:
        self._processes.append(
            subprocess.Popen(
                [
                    *_with_us(), *command_line("firmware_bridge.plant"),
                    "--connect", f"unix:{socket}", "--log", str(self.log), "--speed", str(speed),
                ],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
            )
        )  # fmt: skip

    def _await_plant(self) -> None:
        """It says a line when it is ready. Raises EdgeguardError when it ends before."""
        assert self.plant.stdout is not None
        with self.plant.stdout as said:
            if not said.readline():
                raise EdgeguardError(f"the plant ended with {self.plant.wait()} at once")

    def _start_qemu(self, elf: Path, socket: Path, said: Path, gdb: str | None) -> str:
        line = [
            "qemu-system-arm", "-M", MACHINE, "-kernel", str(elf), "-display", "none",
            "-monitor", "none", *_uart("pty", "serial0"),
            *_uart(f"socket,path={socket},server=on,wait=off", "plant"),
            *NO_ESCAPE, *(["-gdb", gdb] if gdb else []),
        ]  # fmt: skip
        with said.open("w") as file:
            self._processes.append(
                subprocess.Popen(
                    [*_with_us(), *_on_one_core(), *line],
                    stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )  # fmt: skip
        end_s = time.monotonic() + START_S
        while time.monotonic() < end_s:
            text = said.read_text()
            found = _PTY.search(text)
            if found:
                return found[1]
            if self.qemu.poll() is not None:
                raise EdgeguardError(f"qemu-system-arm: {text.strip() or 'ended at once'}")
            time.sleep(0.01)
        raise EdgeguardError("qemu-system-arm: named no port")

    @property
    def plant(self) -> subprocess.Popen[Any]:
        """The process of the vehicle."""
        return self._processes[0]

    @property
    def qemu(self) -> subprocess.Popen[Any]:
        """The process of the microcontroller."""
        return self._processes[1]

    def close(self) -> None:
        """End both."""
        for process in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._folder.cleanup()

    def __enter__(self) -> Sim:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
