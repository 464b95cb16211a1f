# SPDX-License-Identifier: Apache-2.0
"""Why the mode changed: for each change the first cause, what was seen, and the limit it broke."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, define, frozen

from edgeguard._core import CAUSES, Decision, Mode, Policy, Replayer
from edgeguard.alarm import EVENT
from edgeguard.errors import EdgeguardError
from edgeguard.output.recorder.log_reader import Log
from edgeguard.output.recorder.topics import ARM, DECISION, GAP, NOTES, REARM, TAKEOVER, TAPE
from edgeguard.reasons import UNSEEN, Held, Moment, reason
from edgeguard.replay import policy_of

DRAINS = 8  # absence takes away an eighth of what presence has filled (native/core/causes.c)
OPERATIONS = {ARM: "armed", REARM: "a person re-armed it", TAKEOVER: "a person took over"}
REARMED = 0


@frozen
class Change:
    """One change of mode; times in nanoseconds of the log's clock."""

    t_ns: int
    sequence: int
    before: Mode | None
    after: Mode
    cause: str
    """The first cause of the new mode; empty when it got better."""
    why: str
    """What was seen, against which limit, for how long; or what ended."""


@frozen
class Span:
    """From when to when something held."""

    name: str
    start_ns: int
    end_ns: int


@define
class Story:
    """What a log tells."""

    changes: list[Change] = Factory(list)
    modes: list[Span] = Factory(list)
    causes: list[Span] = Factory(list)
    commands: dict[str, list[tuple[int, float]]] = Factory(dict)
    """By channel: time and command, where it changed."""
    units: dict[str, str] = Factory(dict)
    decisions: int = 0
    gaps: int = 0
    start_ns: int = 0
    end_ns: int = 0
    earliest_ns: int = 0
    latest_ns: int = 0
    """Of all decisions: the clock may have been set back."""


def explain(path: Path, private_key: Path | None = None) -> Story:
    """Read a log; private_key: see `Log`. Raises EdgeguardError when it is none, or damaged."""
    log = Log(path, private_key)
    policy = policy_of(log)
    try:
        units, risk = (dict(json.loads(log.about.get(key, "{}"))) for key in ("units", "risk"))
        teller = _Teller(policy, units, risk, _events(log) if risk else [])
        for entry in log.entries(TAPE):
            teller.hear(entry.data)
    except (ValueError, TypeError, LookupError) as error:
        raise EdgeguardError(f"{path}: damaged: {error}; see edgeguard verify-log") from None
    return teller.ended()


def _events(log: Log) -> list[tuple[int, str]]:
    """Security events that were noted, with the time from which on each counted. They may stand
    behind the decisions that they led to."""
    found = ((e.t_ns, json.loads(e.data)["message"]) for e in log.entries(NOTES))
    return [(t_ns, text.removeprefix(EVENT)) for t_ns, text in found if text.startswith(EVENT)]


class _Presence:
    """For how long each cause has been present, as its debounce counts it: by the steps that the
    core was given, not by stamps, and of a clock that stood, ran back or jumped as much as it
    credits (credit_us in native/core/causes.c)."""

    def __init__(self, policy: Mapping[str, Any]) -> None:
        """What is present at the first decision may have been so before it."""
        self._on_us = [row["on_us"] for row in policy["causes"]]
        self._max_gap_us = policy["max_gap_us"]
        self._first = True
        self._longer: set[int] = set()
        self._interrupted: set[int] = set()
        self._absent_us: dict[int, int] = {}
        self.lasted_us: dict[int, int] = {}

    def update(self, mask: int, elapsed_us: int) -> None:
        watched = 0 < elapsed_us <= self._max_gap_us
        for cause in range(len(self._on_us)):
            if mask >> cause & 1:
                self._present(cause, elapsed_us if watched else self._max_gap_us)
            elif cause in self.lasted_us:
                self._absent(cause, elapsed_us if watched else 0)
        self._first = False

    def _present(self, cause: int, step_us: int) -> None:
        if self._first:
            self._longer.add(cause)
        self.lasted_us[cause] = self.lasted_us.get(cause, 0) + step_us  # it held till now
        self._absent_us[cause] = 0

    def _absent(self, cause: int, step_us: int) -> None:
        self._absent_us[cause] += step_us
        self.lasted_us[cause] += step_us
        self._interrupted.add(cause)
        if self._absent_us[cause] > DRAINS * self._on_us[cause]:
            del self.lasted_us[cause]
            self._interrupted.discard(cause)
            self._longer.discard(cause)

    def lasted(self, cause: int) -> str:
        """In words."""
        ms = self.lasted_us.get(cause, 0) / 1e3
        on_and_off = "on and off " if cause in self._interrupted else ""
        return f"{on_and_off}for {'more than ' if cause in self._longer else ''}{ms:.0f} ms"


class _Teller:
    def __init__(
        self, policy: dict[str, Any], units: Mapping[str, str], risk: Mapping[str, Any],
        events: list[tuple[int, str]],
    ) -> None:  # fmt: skip
        self._policy, self._risk, self._events = policy, risk, events
        self._reader = Replayer(Policy(policy))
        self._presence = _Presence(policy)
        self._unknown = "as the log begins"  # why nobody knows what was before this decision
        self._evidence: dict[int, str] = {}  # by cause: what was seen when it was present last
        self._open: dict[int, int] = {}  # active causes: since when
        self._last: Decision | None = None
        self._mode_since_ns = 0
        self._operation = ""
        self._story = Story(units=dict(units))

    def hear(self, record: bytes) -> None:
        kind, again = record[0], self._reader.feed(record)
        if again == "malformed":
            raise ValueError(
                f"a record that cannot be read after {self._story.decisions} decisions"
            )
        if kind == DECISION:
            t_ns, decision = self._reader.decision(record)
            given = self._reader.input(record)
            events = self._counting(t_ns) if self._events else ()
            held = {n: Held(*h) for n, h in self._reader.members().items() if again == "same"}
            moment = Moment(self._policy, decision, given, self._risk, events, self._before(), held)
            self._decided(moment, t_ns)
        elif kind == GAP:
            self._gap()
        elif kind in OPERATIONS and (kind != REARM or record[1] == REARMED):
            self._operation = OPERATIONS[kind]
            self._unknown = "" if kind == ARM else self._unknown

    def _gap(self) -> None:
        """What was seen before it says nothing of what comes after it."""
        self._story.gaps += 1
        self._end_causes(list(self._open), self._story.end_ns)
        self._evidence.clear()
        self._presence = _Presence(self._policy)
        self._unknown = "after the gap"

    def _before(self) -> Mode | None:
        """The mode in which this decision's answers were taken, where that is known."""
        known = self._last is not None and not self._unknown and not self._operation
        return self._last.mode if self._last is not None and known else None

    def _counting(self, t_ns: int) -> tuple[str, ...]:
        """The security events that make points now."""
        window_ns = self._risk["window_s"] * 1e9
        found = (name for then_ns, name in self._events if 0 <= t_ns - then_ns <= window_ns)
        return tuple(dict.fromkeys(found))

    def ended(self) -> Story:
        story = self._story
        if self._last is not None:
            story.modes.append(Span(self._last.mode.name, self._mode_since_ns, story.end_ns))
        for cause, since_ns in self._open.items():
            story.causes.append(Span(CAUSES[cause], since_ns, story.end_ns))
        return story

    def _decided(self, moment: Moment, t_ns: int) -> None:
        decision = moment.decision
        self._count(t_ns)
        self._presence.update(decision.present_mask, moment.given["elapsed_us"])
        gone = self._evidence.keys() - self._presence.lasted_us.keys() - self._open.keys()
        for cause in gone:
            del self._evidence[cause]
        for cause in _bits(decision.present_mask):
            if cause not in self._open or not self._evidence.get(cause):
                self._see(cause, moment)
        if self._last is None or decision.mode != self._last.mode:
            self._changed(decision, t_ns)
        self._lanes(decision, t_ns)
        self._last, self._operation, self._unknown = decision, "", ""

    def _count(self, t_ns: int) -> None:
        story = self._story
        if story.decisions == 0:
            story.start_ns = story.earliest_ns = story.latest_ns = self._mode_since_ns = t_ns
        story.decisions += 1
        story.end_ns = t_ns
        story.earliest_ns = min(story.earliest_ns, t_ns)
        story.latest_ns = max(story.latest_ns, t_ns)

    def _see(self, cause: int, moment: Moment) -> None:
        """What it was present for; of an answer that is still the last one, what was seen of it
        then."""
        seen = reason(CAUSES[cause], moment)
        if seen != UNSEEN or cause not in self._evidence:
            self._evidence[cause] = seen

    def _changed(self, decision: Decision, t_ns: int) -> None:
        before = self._last.mode if self._last is not None else None
        worse = before is None or decision.mode > before
        cause, why = self._worse(decision) if worse else ("", self._better(decision))
        self._story.changes.append(
            Change(t_ns, decision.sequence, before, decision.mode, cause, why)
        )
        if self._last is not None:
            self._story.modes.append(Span(self._last.mode.name, self._mode_since_ns, t_ns))
        self._mode_since_ns = t_ns

    def _worse(self, decision: Decision) -> tuple[str, str]:
        """The cause of this severity that has been present longest, and what was seen of it."""
        asks = [c for c in _bits(decision.causes_mask) if self._severity(c) == decision.mode]
        if decision.mode == Mode.NOMINAL:
            return "", self._unknown or self._operation
        if not asks:
            return "NOT_ARMED", "nothing is commanded before arming"
        lasted_us = self._presence.lasted_us
        first = min(asks, key=lambda c: (c in self._open, -lasted_us.get(c, 0), c))
        row = self._policy["causes"][first]
        seen = self._evidence.get(first)
        if seen is None:
            return CAUSES[first], self._unknown or "armed just now, nothing was heard yet"
        patience = f", {self._presence.lasted(first)} (acts after {row['on_us'] / 1000:g} ms)"
        return CAUSES[first], seen + (patience if row["on_us"] else "")

    def _better(self, decision: Decision) -> str:
        gone = [CAUSES[c] for c in self._open if not decision.causes_mask >> c & 1]
        waits = {c: self._policy["causes"][CAUSES.index(c)]["off_us"] / 1000 for c in gone}
        ended = ", ".join(f"{c} absent for {ms:g} ms" for c, ms in waits.items())
        return "; ".join(filter(None, (self._operation, ended))) or self._unknown

    def _severity(self, cause: int) -> int:
        severity = self._policy["causes"][cause]["severity"]
        assert isinstance(severity, int)
        return severity

    def _lanes(self, decision: Decision, t_ns: int) -> None:
        """What a timeline shows: causes that act, and commands."""
        active = set(_bits(decision.causes_mask))
        self._end_causes([c for c in self._open if c not in active], t_ns)
        for cause in active:
            self._open.setdefault(cause, t_ns)
        for name, value in decision.command.items():
            line = self._story.commands.setdefault(name, [])
            if not line or line[-1][1] != value or decision.mode != self._mode_of_last():
                line.append((t_ns, value))

    def _end_causes(self, ended: list[int], t_ns: int) -> None:
        for cause in ended:
            self._story.causes.append(Span(CAUSES[cause], self._open.pop(cause), t_ns))
            self._evidence.pop(cause, None)

    def _mode_of_last(self) -> Mode | None:
        return self._last.mode if self._last is not None else None


def _bits(mask: int) -> Iterator[int]:
    return (i for i in range(len(CAUSES)) if mask >> i & 1)
