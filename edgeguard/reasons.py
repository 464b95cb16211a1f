# SPDX-License-Identifier: Apache-2.0
"""What was seen when a cause was present, and the policy's limit that it broke, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from edgeguard._core import CAUSES, Decision, Mode
from edgeguard.config.detector_rows import SOURCES
from edgeguard.config.vocabulary import HOLD, OPERATIONS

ONE = 65536  # Q16.16
AGE_MAX = 2**32 - 1
BY_LABEL = 0  # kind of a member
OF_A_MEMBER = SOURCES.index("score"), SOURCES.index("embedding")  # detectors
VOTED = "STALE_MODEL", "LOW_CERTAINTY", "DISAGREEMENT", "OPERATION_DENIED"
UNSEEN = "was present"  # what a cause without anything that shows it says


class Held(NamedTuple):
    """What the core made of a member's answers."""

    heard: bool
    """Whether it goes by the last one; while not, the member has no vote, and its detectors say
    nothing."""
    label: int
    """Of the answer that it goes by."""
    faults: int
    """What was wrong with the newest one: a bit a cause."""


class Moment(NamedTuple):
    """One decision with everything that went into it."""

    policy: Mapping[str, Any]
    decision: Decision
    given: Mapping[str, Any]
    """As `Replayer.input` returns it."""
    risk: Mapping[str, Any] = {}
    """As `edgeguard.alarm.limits` made it; empty where the log has none."""
    events: Sequence[str] = ()
    """Security events that counted at this decision."""
    before: Mode | None = None
    """The mode of the decision before it, where that is known: answers are taken in it."""
    held: Mapping[str, Held] = {}
    """By member, as the core knows it when it has decided; empty after a gap."""

    @property
    def members(self) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
        """Name, what it said, and its row of the policy."""
        for row in self.policy["members"]:
            yield row["name"], self.given["members"][row["name"]], row

    @property
    def channels(self) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
        """Name, the evidence of its vote, and its row of the policy."""
        for row in self.policy["channels"]:
            yield row["name"], self.decision.evidence[row["name"]], row

    def refused(self, member: str, cause: str) -> bool:
        """Whether the core refused its newest answer for this."""
        return member in self.held and bool(self.held[member].faults >> CAUSES.index(cause) & 1)


def reason(cause: str, moment: Moment) -> str:
    """Against which limit this cause was present."""
    found = "; ".join(_FINDERS.get(cause, _always())(moment)) or "; ".join(
        _detectors(cause, moment)
    )
    if found:
        return found
    missed = moment.given["missed"] >> CAUSES.index(cause) & 1
    if not missed:
        return UNSEEN
    return "in what a newer one replaced before the decision, or in the picture an answer is about"


def _ms(us: int) -> str:
    return "for ever" if us == AGE_MAX else f"{us / 1000:.10g} ms"


def _always(*words: str) -> Callable[[Moment], Iterator[str]]:
    return lambda moment: iter(words)


def _time(moment: Moment) -> Iterator[str]:
    elapsed, most = moment.given["elapsed_us"], moment.policy["max_gap_us"]
    if elapsed == 0:
        yield "the clock stood still"
    elif elapsed == AGE_MAX:
        yield "the clock ran back, jumped by more than an hour, or could not be read"
    elif elapsed <= most:
        period = _ms(moment.policy["period_us"])
        yield f"{_ms(elapsed)} between two decisions, time and again, for a period of {period}"
    else:
        yield f"{_ms(elapsed)} between two decisions, above {_ms(most)}"


def _overrun(moment: Moment) -> Iterator[str]:
    yield (
        f"{_ms(moment.given['elapsed_us'])} between two decisions, "
        f"above two periods of {_ms(moment.policy['period_us'])}"
    )


def _controller(moment: Moment) -> Iterator[str]:
    if not moment.given["rule_ok"]:
        yield "the rule-based controller raised or returned no finite number"
    most = moment.policy["controller_budget_us"]
    if moment.given["rule_us"] > most:
        yield f"the rule-based controller took {_ms(moment.given['rule_us'])}, above {_ms(most)}"


def _age(moment: Moment, name: str) -> str:
    age_ms = moment.decision.ages_ms[name]
    never = age_ms >= AGE_MAX / 1000
    return "has said nothing that can be used" if never else f"is {age_ms:.10g} ms old"


def _old(moment: Moment, name: str, row: Mapping[str, Any]) -> bool:
    return bool(round(moment.decision.ages_ms[name] * 1000) > row["max_age_us"])


def _stale(moment: Moment) -> Iterator[str]:
    for name, evidence, row in moment.channels:
        quorum = _least(row)[1]
        if evidence["voters"] < quorum:
            yield f"{name}: {evidence['voters']} of {quorum} members that are needed have a say"
    for name, _, row in moment.members:
        if _old(moment, name, row):
            yield f"{name} {_age(moment, name)}, above {_ms(row['max_age_us'])}"


def _lost(moment: Moment) -> Iterator[str]:
    for name, said, row in moment.members:
        if not said["present"]:
            yield f"{name} is gone"
        elif _old(moment, name, row):
            yield f"{name} {_age(moment, name)}, above {_ms(row['max_age_us'])}"


def _late(moment: Moment) -> Iterator[str]:
    for name, said, row in moment.members:
        waits = max(said["latency_us"], said["pending_us"])
        if waits > row["deadline_us"]:
            yield f"{name} took {_ms(waits)}, above {_ms(row['deadline_us'])}"


def _insane(moment: Moment) -> Iterator[str]:
    for name, said, row in moment.members:
        if moment.refused(name, "SCORE_INSANE"):
            yield f"{name}: {_nonsense(said, row)}"


def _nonsense(said: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """What is wrong with an answer that the core refused as insane."""
    if said["age_us"] == AGE_MAX:
        return "stamped later than the decision, or with no time"
    if said["bad"]:
        return f"{said['bad']} scores are no numbers, 0 may be"
    if said["out_of_range"]:
        return f"{said['out_of_range']} scores outside their range, 0 may be"
    if said["rail"] > row["max_rail"]:
        return f"{said['rail']} scores at the upper rail, above {row['max_rail']}"
    if said["distinct"] < row["min_distinct"]:
        return f"{said['distinct']} different scores, below {row['min_distinct']}"
    low, high = row["sum_min"] / ONE, row["sum_max"] / ONE
    return f"scores add up to {said['sum']:.3f}, outside {low:.3f} to {high:.3f}"


def _least(row: Mapping[str, Any]) -> tuple[float, int, str]:
    """The evidence that any operation asks for: certainty, quorum, and whose certainty it is."""
    certainty = min(row[o]["certainty"] for o in OPERATIONS)
    whose = next(o for o in OPERATIONS if row[o]["certainty"] == certainty)
    return certainty / ONE, min(row[o]["quorum"] for o in OPERATIONS), whose


def _low(moment: Moment) -> Iterator[str]:
    for name, evidence, row in moment.channels:
        floor, quorum, whose = _least(row)
        if evidence["votes"] >= quorum and evidence["certainty"] < floor:
            yield f"certainty {evidence['certainty']:.2f} below {floor:.2f} asked by {whose} {name}"


def _disagreement(moment: Moment) -> Iterator[str]:
    for name, evidence, row in moment.channels:
        quorum = _least(row)[1]
        if evidence["votes"] < quorum <= evidence["voters"]:
            agree = f"{evidence['votes']} of {evidence['voters']} members agree"
            yield f"{name}: {agree}, below {quorum}"


def _denied(moment: Moment) -> Iterator[str]:
    if severe := _distrusted(moment):
        yield f"no operation is granted while there is {', '.join(severe)}"
        return
    for index, (name, evidence, row) in enumerate(moment.channels):
        floor, quorum, _ = _least(row)
        about = index if row["kind"] != BY_LABEL else _about(moment, evidence["label"])
        if about != index or evidence["votes"] < quorum or evidence["certainty"] < floor:
            continue
        asks = ", ".join(
            f"{o} asks {row[o]['certainty'] / ONE:.2f} of {row[o]['quorum']}{_over(row[o])}"
            for o in OPERATIONS
        )
        yield (f"{name}: certainty {evidence['certainty']:.2f}, {evidence['votes']} votes; {asks}")


def _distrusted(moment: Moment) -> list[str]:
    """The causes for which no operation is granted, whatever it has for itself: as severe as
    FALLBACK, and found before the vote (native/core/decide.c)."""
    rows = zip(CAUSES, moment.policy["causes"], strict=True)
    severe = {name for name, row in rows if row["severity"] >= Mode.FALLBACK}
    found = (name for name in moment.decision.present if name in severe)
    return [name for name in found if not _by_vote(name, moment)]


def _by_vote(cause: str, moment: Moment) -> bool:
    """Whether nothing but the vote found this cause."""
    if moment.given["missed"] >> CAUSES.index(cause) & 1:
        return False
    if cause == "UNAUTHORIZED_SUGGESTION":
        return any(_half_granted(moment)) and not any(_refused(moment))
    return cause in VOTED


def _over(demand: Mapping[str, int]) -> str:
    return f" on {demand['frames']} frames in a row" if demand["frames"] > 1 else ""


def _unauthorized(moment: Moment) -> Iterator[str]:
    """Who said something that was not granted at all, else who was granted half of what the vote
    asks for."""
    yield from [*_refused(moment)] or _half_granted(moment)


def _refused(moment: Moment) -> Iterator[str]:
    for name, said, row in moment.members:
        if not moment.refused(name, "UNAUTHORIZED_SUGGESTION"):
            continue
        allowed = ", ".join(mode.name for mode in _modes(row))
        if channel := _forbidden(moment, said, row):
            yield f"{name} spoke of {channel}, which it may not"
        elif moment.before is not None and moment.before not in _modes(row):
            yield f"{name} spoke in {moment.before.name}; it may in {allowed}"
        else:
            yield f"{name} may speak in {allowed} alone"


def _forbidden(moment: Moment, said: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The channel that an answer is about, where it may ask nothing of it."""
    about = _about(moment, said["label"]) if row["kind"] == BY_LABEL else HOLD
    allowed = about == HOLD or _granted(row, about)
    return "" if allowed else str(moment.policy["channels"][about]["name"])


def _half_granted(moment: Moment) -> Iterator[str]:
    for index, (channel, evidence, _) in enumerate(moment.channels):
        for name, _, row in moment.members:
            granted, held = _granted(row, index), moment.held.get(name)
            if granted not in (1, 2) or held is None or not held.heard:
                continue
            about = _about(moment, held.label) if row["kind"] == BY_LABEL else index
            if about == index and (row["kind"] != BY_LABEL or held.label == evidence["label"]):
                yield f"{name} may only {OPERATIONS[granted - 1]} {channel}"


def _about(moment: Moment, label: int) -> int:
    """The channel that a label asks something of, or HOLD."""
    return int(moment.policy["labels"][label]["channel"]) if label >= 0 else HOLD


def _modes(row: Mapping[str, Any]) -> list[Mode]:
    """In which a member may speak."""
    return [mode for mode in Mode.__members__.values() if row["modes"] >> int(mode) & 1]


def _granted(row: Mapping[str, Any], channel: int) -> int:
    """A member's operations on a channel, one bit each."""
    granted = row["may"] >> len(OPERATIONS) * channel & 3
    assert isinstance(granted, int)
    return granted


def _lost_frames(moment: Moment) -> Iterator[str]:
    for row in moment.policy["cameras"]:
        if _old(moment, row["name"], row):
            yield (
                f"the newest frame of {row['name']} {_age(moment, row['name'])}, "
                f"above {_ms(row['max_age_us'])}"
            )


def _frozen(moment: Moment) -> Iterator[str]:
    names = [row["name"] for row in moment.policy["cameras"]]
    which = names[0] if len(names) == 1 else "one of " + ", ".join(names)
    yield f"{which} shows a picture that it showed before"


def _invalid(moment: Moment) -> Iterator[str]:
    for row in moment.policy["signals"]:
        if moment.given["signals"][row["name"]] is None:
            low, high = row["min"] / ONE, row["max"] / ONE
            yield f"{row['name']} is absent, no number, or outside {low:g} to {high:g}"
    if moment.given["engaged_unknown"]:
        yield "engaged is neither 0 nor 1"


def _raised(cause: str, moment: Moment) -> Iterator[str]:
    """The risk level that this cause asks for, and what makes one."""
    for row, number in zip(moment.policy["detectors"], moment.given["detectors"], strict=True):
        if CAUSES[row["cause"]] != cause:
            continue
        if number is None:
            yield "no risk level was given in time"
        elif number * ONE > row["max"]:
            yield f"risk level {number:g}{_levels((row['max'] + 1) // ONE, moment)}"


def _levels(level: int, moment: Moment) -> str:
    """The thresholds of a level, and what was counted."""
    if not moment.risk:
        return f", acts from {level}"
    risk, key = moment.risk, str(level)
    text = f"; level {level} stands for {risk['points'][key]} points of security events in "
    text += f"{risk['window_s']:g} s ({', '.join(moment.events) or 'none is recorded'})"
    if risk["detectors"]:
        text += f", or evidence of {risk['evidence'][key]:g} from {', '.join(risk['detectors'])}"
        text += ", or both at level 2" if level == 3 else ""
    return text


def _detectors(cause: str, moment: Moment) -> Iterator[str]:
    """The detectors of this cause that are outside their limits."""
    for row, number in zip(moment.policy["detectors"], moment.given["detectors"], strict=True):
        if CAUSES[row["cause"]] != cause or (number is not None and _abstains(moment, row)):
            continue
        low, high = row["min"] / ONE, row["max"] / ONE
        pair = ", ".join(row.get("association", {}).get("between", ()))
        name = f"{row['name']} ({pair})" if pair else row["name"]
        if number is None:
            yield f"{name} cannot be read"
        elif number < low:
            yield f"{name} {number:.4g} below {low:.4g}"
        elif number > high:
            yield f"{name} {number:.4g} above {high:.4g}"


def _abstains(moment: Moment, row: Mapping[str, Any]) -> bool:
    """Whether a detector is one of a member that is not heard."""
    if row["source"] not in OF_A_MEMBER:
        return False
    held = moment.held.get(moment.policy["members"][row["index"]]["name"])
    return held is not None and not held.heard


_LINK = _always("the microcontroller's link reported it")
_FINDERS: dict[str, Callable[[Moment], Iterator[str]]] = {
    "NOT_ARMED": _always("nothing is commanded before arming"),
    "TIME_FAULT": _time,
    "CONTROLLER_LOST": _controller,
    "STALE_MODEL": _stale,
    "LATE": _late,
    "MEMBER_LOST": _lost,
    "SCORE_INSANE": _insane,
    "LOW_CERTAINTY": _low,
    "DISAGREEMENT": _disagreement,
    "OPERATION_DENIED": _denied,
    "UNAUTHORIZED_SUGGESTION": _unauthorized,
    "FROZEN_INPUT": _frozen,
    "FRAME_LOST": _lost_frames,
    "INPUT_INVALID": _invalid,
    "ENVELOPE_CONFLICT": _always("no command satisfies range and rate at once"),
    "OVERRUN": _overrun,
    "LINK_LOST": _always("the microcontroller was silent, or an output took no decisions in time"),
    "LINK_FAULTY": _LINK,
    "ANSWER_WRONG": _LINK,
    "PEER_STOPPED": _LINK,
    "SELF_TEST": _LINK,
    "RECORDER_LOST": _always(
        "records found no room, or the recorder or another log could not write"
    ),
    "UNSIGNED_BUNDLE": _always("nobody trusted vouches for the bundle"),
    "RISK_RAISED": partial(_raised, "RISK_RAISED"),
    "RISK_HIGH": partial(_raised, "RISK_HIGH"),
}
