# SPDX-License-Identifier: Apache-2.0
"""Short drives of the bench's guard, recorded by a real recorder process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.bench import Bench, certain, write_policy

if TYPE_CHECKING:
    from edgeguard.output.recorder import Recorder


def wait_for(what: str, holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something holds; what never does fails the test."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.01)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "flight.mcap"


@pytest.fixture
def pinned(tmp_path: Path) -> Callable[[], str]:
    """The first public key, once there is one."""
    return lambda: (tmp_path / "key.pub").read_text().strip()


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Bench]:
    """Not recording, not armed."""
    made = Bench(write_policy(tmp_path))
    yield made
    made.guard.close()


@pytest.fixture
def recorder(silent: Bench, log: Path, tmp_path: Path) -> Recorder:
    return silent.guard.record(log, key=tmp_path / "key.json")


@pytest.fixture
def bench(silent: Bench, recorder: Recorder) -> Bench:
    """Recording, not armed."""
    return silent


def eventful(bench: Bench) -> None:
    """All that a tape can hold: modes, operations, insane scores, NaN, a clock that runs back."""
    bench.tick()
    bench.nominal()
    bench.run(600, "thirty", certainty=0.6)
    bench.run(300, "ten")
    bench.say(certain("ten") * float("nan"), ("one",))
    bench.signals["speed"] = float("nan")
    bench.run(300, "ten")
    bench.signals["speed"] = 0.0
    bench.run(1500, "ten")
    bench.tick(-50)
    bench.guard.takeover()
    bench.run(100)
    bench.guard.note(1 << 30)
    bench.run(1500, "ten")
