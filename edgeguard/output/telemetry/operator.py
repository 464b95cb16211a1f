# SPDX-License-Identifier: Apache-2.0
"""What a person asks for on the page, carried out by the deciding thread at its next tick."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from edgeguard.errors import EdgeguardError
from edgeguard.output.telemetry.process import ANSWER, ANSWER_S, Link

MOST, WINDOW_NS = 3, 60_000_000_000
SECOND_NS = 1_000_000_000
SHORTEST, LONGEST = 16, 256  # characters of a token
TOO_OFTEN = "asked three times within a minute; wait"
TOO_LATE = "asked too long ago; ask again"

_log = logging.getLogger("edgeguard")


class Commanded(Protocol):
    """A guard, or one behind a microcontroller."""

    def knows(self, token: str) -> bool: ...
    def doubts(self, token: str) -> str | None: ...
    def rearm(self, token: str) -> str | None: ...
    def takeover(self) -> None: ...


def read_token(path: Path) -> str:
    """The operator's token. Raises EdgeguardError when others may read or change the file, or it
    belongs to somebody else: neither to us nor to root."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(handle, encoding="ascii") as file:
            seen = os.fstat(file.fileno())
            mode = seen.st_mode
            if not stat.S_ISREG(mode):
                raise EdgeguardError(f"{path}: is no file")
            if seen.st_uid not in (os.geteuid(), 0):
                raise EdgeguardError(f"{path}: belongs to another user; make a token of your own")
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise EdgeguardError(
                    f"{path}: others than its owner may use it (mode {stat.S_IMODE(mode):03o});"
                    f" chmod 600 {path}, and make a new token if somebody did"
                )
            token = file.read(LONGEST + 2).strip()
    except OSError as error:
        raise EdgeguardError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise EdgeguardError(f"{path}: is no ASCII text") from None
    if not SHORTEST <= len(token) <= LONGEST or not token.isprintable() or " " in token:
        raise EdgeguardError(f"{path}: want one word of {SHORTEST} to {LONGEST} characters")
    return token


class Requests:
    """Re-arm and takeover with the operator's token, each at most three times a minute.

    Wrong tokens count, too. The right one may always take over: nobody can use up a person's tries.
    Nor does it matter when that was asked; a re-arm that was not carried out in time never is, as
    whoever asked was told. The token is kept and checked here: the telemetry process has it only
    while it hands on what a person typed.
    """

    def __init__(
        self, link: Link, guard: Commanded, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._link, self._guard, self._clock_ns = link, guard, clock_ns
        self._recent = {"rearm": deque[int](), "takeover": deque[int]()}
        self._quiet_until_ns: dict[str, int] = {}
        self.counts: Counter[str] = Counter()
        self.answered = 0
        self.last: dict[str, Any] | None = None
        """The last request and its answer, which is None when it was carried out."""

    def serve(self) -> None:
        """Carry out one request, if there is one."""
        asked = self._link.request()
        if asked is None:
            return
        what, token = asked.get("do"), asked.get("token")
        if not isinstance(what, str) or not isinstance(token, str) or what not in self._recent:
            return
        answer = self._answer(what, token, asked.get("asked_ns"))
        if answer not in (TOO_OFTEN, TOO_LATE) or self._worth_telling(what):
            _log.warning("operator: %s: %s", what, answer or "done")
        self.answered += 1
        self.counts[f"{what} {'refused' if answer else 'done'}"] += 1
        self.last = {"do": what, "answer": answer, "unix_ms": time.time_ns() // 1_000_000}
        self._link.send_json(ANSWER, {"id": asked.get("id"), "answer": answer})

    def _worth_telling(self, what: str, every_ns: int = WINDOW_NS) -> bool:
        """Once in a while: whoever floods us fills no log."""
        now_ns = self._clock_ns()
        if now_ns < self._quiet_until_ns.get(what, now_ns):
            return False
        self._quiet_until_ns[what] = now_ns + every_ns
        return True

    def _answer(self, what: str, token: str, asked_ns: object) -> str | None:
        now_ns, recent = self._clock_ns(), self._recent[what]
        if what == "rearm" and not _in_time(asked_ns, now_ns):
            return TOO_LATE
        while recent and recent[0] <= now_ns - WINDOW_NS:
            recent.popleft()
        if len(recent) >= MOST:
            return self._beyond(what, token)
        recent.append(now_ns)
        doubts = self._guard.doubts(token)
        if doubts is not None:
            return doubts
        if what == "rearm":
            return self._guard.rearm(token)
        self._guard.takeover()
        return None

    def _beyond(self, what: str, token: str) -> str | None:
        """A takeover for which there were too many tries: a wrong token stays a security event,
        which counts once a second."""
        if what == "takeover" and self._guard.knows(token):
            self._guard.takeover()
            return None
        if what == "takeover" and self._worth_telling("wrong token", SECOND_NS):
            self._guard.doubts(token)
        return TOO_OFTEN


def _in_time(asked_ns: object, now_ns: int) -> bool:
    return isinstance(asked_ns, int) and 0 <= now_ns - asked_ns <= ANSWER_S * 1e9
