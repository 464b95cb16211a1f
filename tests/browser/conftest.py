# SPDX-License-Identifier: Apache-2.0
"""A real `edgeguard run --page` in a process of its own, and a headless Chromium before it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard.zoo import models_dir

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
TOKEN = "a-token-for-the-test"
START_S = 60.0


@dataclass
class Run:
    """A run and where its page is."""

    process: subprocess.Popen[str]
    url: str
    folder: Path
    host: str

    def children(self) -> dict[int, str]:
        """Its processes by id, with their command lines."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = re.search(r"\) \S (\d+)", (entry / "stat").read_text())
                    line = (entry / "cmdline").read_text().replace("\0", " ")
                except OSError:
                    continue
                if parent and int(parent[1]) == self.process.pid:
                    found[int(entry.name)] = line
        return found

    def end(self) -> str:
        """As a service manager does; what it says at the end."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=START_S)[1]


def start(folder: Path, disclosure: str) -> Run:
    """Drive past the demo's signs, on the clock."""
    text = (models_dir() / "guard.toml").read_text()
    text = re.sub(r'model = "', f'model = "{models_dir()}/', text)
    policy = folder / "guard.toml"
    policy.write_text(text + f'\n[telemetry]\ndisclosure = "{disclosure}"\ntoken_file = "token"\n')
    (folder / "token").touch(0o600)
    (folder / "token").write_text(TOKEN)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeguard", "run", str(policy), "--source", "simulated",
         "--realtime", "--page", host, "--sink", str(folder / "out.jsonl")],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line == f"page: http://{host}/\n", line + process.stderr.read()
    return Run(process, f"http://{host}/", folder, host)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Run]:
    yield from _run(tmp_path, "full")


@pytest.fixture
def label(tmp_path: Path) -> Iterator[Run]:
    yield from _run(tmp_path, "label")


def _run(folder: Path, disclosure: str) -> Iterator[Run]:
    run = start(folder, disclosure)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.communicate()


@dataclass
class Looking:
    """A page in the browser with everything that went wrong on it."""

    page: Page
    errors: list[str] = field(default_factory=list)


@pytest.fixture
def looking() -> Iterator[Looking]:
    """390 px wide, as a phone is."""
    if CHROMIUM is None:
        pytest.skip("needs chromium; apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = play.chromium.launch(executable_path=CHROMIUM, args=root)
        page = browser.new_page(viewport={"width": 390, "height": 844})
        found = Looking(page)
        page.on("console", lambda said: found.errors.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: found.errors.append(str(error)))
        page.on("requestfailed", lambda asked: found.errors.append(asked.url))
        yield found
        browser.close()


def wait_until(true: object, seconds: float = START_S) -> None:
    """Poll; fails when it never gets true."""
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.05)
