# SPDX-License-Identifier: Apache-2.0
"""Warnings of threads that must not wait, and of what is made to go wrong. A log's handler may
wait: on a terminal that stands still, or on whatever whoever embeds us has put there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

MOST = 1000  # that wait; what comes then is lost

_log = logging.getLogger("edgeguard")
_waiting: SimpleQueue[str] = SimpleQueue()
_thread: threading.Thread | None = None


def warn(text: str) -> None:
    """Have the log told by a thread of its own; returns at once."""
    global _thread  # noqa: PLW0603 - one for the process; a forked one has none
    if _waiting.qsize() < MOST:
        _waiting.put(text)
    if _thread is None or not _thread.is_alive():
        _thread = threading.Thread(target=_tell, name="edgeguard-log", daemon=True)
        _thread.start()


def _tell() -> None:
    while True:
        _log.warning("%s", _waiting.get())


@contextmanager
def quiet() -> Iterator[None]:
    """What goes wrong in here is made to go wrong: nobody needs to be warned."""
    level = _log.level
    _log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        _log.setLevel(level)
