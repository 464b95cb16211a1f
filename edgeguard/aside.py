# SPDX-License-Identifier: Apache-2.0
"""Warnings of threads that must not wait. A log's handler may: on a terminal that stands still, or
on whatever whoever embeds us has put there."""

from __future__ import annotations

import logging
import threading
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
