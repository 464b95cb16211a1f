# SPDX-License-Identifier: Apache-2.0
"""Processes of one run of the suite (`make test`: one a core): what they share, and who waits."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FOLDER = "EDGEGUARD_TESTS_SHARED"


def share(config: pytest.Config) -> None:
    """Make the folder of this run, before its processes start; it goes when the run ends."""
    if FOLDER not in os.environ:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="edgeguard-tests-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(FOLDER)))


def shared() -> Path:
    """A folder that all processes of this run see."""
    return Path(os.environ[FOLDER])


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of this run: one that a fork does not keep."""
    with (shared() / name).open("w+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


@contextmanager
def turn(alone: bool) -> Iterator[None]:
    """Run beside other tests, or wait until they have ended and keep them waiting. Who waits does
    so at the gate, so that those who come after it stand behind it."""
    with (shared() / "running").open("w+") as running:
        with locked("gate"):
            fcntl.lockf(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
