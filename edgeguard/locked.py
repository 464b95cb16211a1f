# SPDX-License-Identifier: Apache-2.0
"""A lock between processes, which no other account can hold and nobody waits for without end."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WAIT_S = 2.0  # below `recorder.STALLED_S`: a recorder that waits for its next key still counts
LOOK_S = 0.02


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While this lasts, no other process is in here with the same file. Raises OSError, also when
    another one does not let go of it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(fd).st_uid == os.geteuid():
            os.fchmod(fd, 0o600)  # whoever can read a file can lock it, and older ones were 0644
        _wait(fd, path)
        yield
    finally:
        os.close(fd)


def _wait(fd: int, path: Path) -> None:
    end_s = time.monotonic() + WAIT_S
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end_s:
                why = f"another process has locked it for more than {WAIT_S:g} s; end that process"
                raise TimeoutError(errno.ETIMEDOUT, why, str(path)) from None
        time.sleep(LOOK_S)
