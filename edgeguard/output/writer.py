# SPDX-License-Identifier: Apache-2.0
"""A bounded queue with a thread behind it, for whatever may block: whoever puts never waits."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any


class Writer:
    """Hands over in order what it is given, in a thread of its own.

    When the queue is full its oldest item leaves: the newest is what counts. With ``fresh_ns``,
    what has waited longer is never handed over: what comes late would look as if it held now.
    """

    def __init__(
        self, name: str, take: Callable[..., object], most: int, fresh_ns: int | None = None,
        ready: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        """take: gets the items, and may block as long as it likes; most: items that may wait;
        ready: returns when take would not block, as far as that can be known."""
        self._take, self._most, self._fresh_ns, self._ready = take, most, fresh_ns, ready
        self._waiting = queue.SimpleQueue[tuple[int, tuple[Any, ...]] | None]()
        self._pushed_out = 0  # counted by whoever puts
        self._stale = 0  # counted by the thread
        self.failure: BaseException | None = None
        """What take raised; nothing is handed over after it."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Items that were not handed over."""
        return self._pushed_out + self._stale

    def put(self, *item: Any) -> None:
        """Returns at once."""
        if self._waiting.qsize() >= self._most:
            with contextlib.suppress(queue.Empty):  # the thread was faster
                self._waiting.get_nowait()
                self._pushed_out += 1
        self._waiting.put((time.monotonic_ns(), item))

    @property
    def waiting(self) -> int:
        """Items that are in the queue."""
        return self._waiting.qsize()

    def close(self, timeout_s: float) -> bool:
        """Hand over what waits, or give it up after this time; nothing may be put after it.

        Returns whether the thread has ended.
        """
        self._waiting.put(None)
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            return True
        self._pushed_out += self._waiting.qsize()  # one is in its hands, and the None waits
        return False

    def _run(self) -> None:
        try:
            while (entry := self._waiting.get()) is not None:
                self._ready()
                if self._fresh_ns is not None and time.monotonic_ns() - entry[0] > self._fresh_ns:
                    self._stale += 1
                else:
                    self._take(*entry[1])
        except BaseException as error:  # a callable of the user's may raise SystemExit, too
            self.failure = error
