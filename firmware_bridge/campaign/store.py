# SPDX-License-Identifier: Apache-2.0
"""Results of a campaign: one JSON line an injection, appended at once, and what they add up to."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from edgeguard.errors import EdgeguardError
from edgeguard.evidence import binomial

Row = dict[str, Any]


class Store:
    """The file of one target, seed and firmware."""

    def __init__(self, path: Path) -> None:
        """Reads what is there; a last line that was cut off is run again. Raises EdgeguardError,
        also while another process has it open."""
        self.path = path
        self.rows: dict[str, dict[int, Row]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise EdgeguardError(f"{path}: {error.strerror}") from None
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file.seek(0)
            text = self._file.read()
            whole = text[: text.rfind("\n") + 1]
            for number, line in enumerate(whole.splitlines(), 1):
                self._keep(_parsed(self.path, number, line))
            self._file.truncate(len(whole.encode()))
        except BlockingIOError:
            raise EdgeguardError(
                f"{self.path}: another process writes it; wait for its end or name another folder"
            ) from None
        except OSError as error:
            raise EdgeguardError(f"{self.path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise EdgeguardError(f"{self.path}: byte {error.start} is no text; damaged") from None

    def _keep(self, row: Row) -> None:
        self.rows.setdefault(row["f"], {})[row["i"]] = row

    def missing(self, fault: str, n: int) -> list[int]:
        """Which of the first n injections are still to be made."""
        done = self.rows.get(fault, {})
        return [i for i in range(n) if i not in done]

    def add(self, rows: Iterable[Row]) -> None:
        """Append and flush."""
        for row in rows:
            self._file.write(json.dumps(row, separators=(",", ":")) + "\n")
            self._keep(row)
        self._file.flush()

    def close(self) -> None:
        """No more rows."""
        self._file.close()


def _parsed(path: Path, number: int, line: str) -> Row:
    try:
        row: Row = json.loads(line)
        assert isinstance(row["f"], str)
        assert isinstance(row["i"], int)
    except (ValueError, KeyError, TypeError, AssertionError):
        raise EdgeguardError(f"{path}: line {number} is no result; remove that line") from None
    return row


@frozen
class Summary:
    """What the injections of one fault add up to."""

    fault: str
    injections: int
    wrong: int
    """Turns with a wrong command."""
    wrong_cases: int
    bound: float
    """95 % upper bound of the share of injections with a wrong command."""
    safe_us: Sequence[int]
    """Times to the start of the ramp, sorted."""
    named: int
    unnamed: int
    false_trips: int
    bound_ms: float
    """The longest bound that one of them had of its own; 0: none had."""
    stood: int
    """Injections in which the processor hung or locked up until its hardware watchdog."""
    outside_ms: Sequence[int]
    """Until the members commanded again after the fault, sorted; where a target measures it."""

    def quantile_ms(self, q: float) -> float | None:
        """Of the times to the ramp; None: nothing had to stop."""
        if not self.safe_us:
            return None
        return self.safe_us[min(len(self.safe_us) - 1, int(q * len(self.safe_us)))] / 1000

    @property
    def right(self) -> float | None:
        """Share of injections whose cause was named; None: there was none to name."""
        asked = self.named + self.unnamed
        return self.named / asked if asked else None


def summary(fault: str, rows: Iterable[Row]) -> Summary:
    """Add up."""
    found = list(rows)
    wrong_cases = sum(row["w"] > 0 for row in found)
    return Summary(
        fault=fault,
        injections=len(found),
        wrong=sum(row["w"] for row in found),
        wrong_cases=wrong_cases,
        bound=upper_bound(wrong_cases, len(found)),
        safe_us=sorted(row["t"] for row in found if row["t"] is not None),
        named=sum(row["c"] is True for row in found),
        unnamed=sum(row["c"] is False for row in found),
        false_trips=sum(row["x"] for row in found),
        bound_ms=max((row.get("b") or 0 for row in found), default=0) / 1000,
        stood=sum(row.get("h", 0) for row in found),
        outside_ms=sorted(row["r"] for row in found if row.get("r") is not None),
    )


def upper_bound(k: int, n: int) -> float:
    """95 % upper bound of a rate: 3/n for none of n, else Clopper-Pearson."""
    if n == 0:
        return 1.0
    return min(1.0, 3.0 / n) if k == 0 else binomial.upper_bound(k, n)
