# SPDX-License-Identifier: Apache-2.0
"""What was seen when a cause was present, and the policy's limit that it broke, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from edgeguard._core import CAUSES, Decision, Mode
from edgeguard.config.vocabulary import OPERATIONS

ONE = 65536  # Q16.16
AGE_MAX = 2**32 - 1
BY_LABEL = 0  # kind of a member
LINK = "the microcontroller's link reported it"
UNSEEN = "was present"  # what a cause without anything that shows it says


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


def reason(cause: str, moment: Moment) -> str:
    """Against which limit this cause was present."""
    found = "; ".join(_FINDERS.get(cause, _nothing)(moment)) or "; ".join(_detectors(cause, moment))
    if found:
        return found
    missed = moment.given["missed"] >> CAUSES.index(cause) & 1
    return "in something that a newer one replaced before the decision" if missed else UNSEEN


def _ms(us: int) -> str:
    return "for ever" if us == AGE_MAX else f"{us / 1000:g} ms"


def _nothing(moment: Moment) -> Iterator[str]:
    return iter(())


def _not_armed(moment: Moment) -> Iterator[str]:
    yield "nothing is commanded before arming"


def _time(moment: Moment) -> Iterator[str]:
    elapsed, most = moment.given["elapsed_us"], moment.policy["max_gap_us"]
    if elapsed == 0:
        yield "the clock stood still"
    elif elapsed == AGE_MAX:
        yield "the clock ran back, or could not be read"
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
    return "has said nothing that can be used" if never else f"is {age_ms:g} ms old"


def _stale(moment: Moment) -> Iterator[str]:
    for name, evidence, row in moment.channels:
        quorum = _least(row)[1]
        if evidence["voters"] < quorum:
            yield f"{name}: {evidence['voters']} of {quorum} members that are needed have a say"
    for name, _, row in moment.members:
        if moment.decision.ages_ms[name] * 1000 > row["max_age_us"]:
            yield f"{name} {_age(moment, name)}, above {_ms(row['max_age_us'])}"


def _lost(moment: Moment) -> Iterator[str]:
    for name, said, row in moment.members:
        if not said["present"]:
            yield f"{name} is gone"
        elif moment.decision.ages_ms[name] * 1000 > row["max_age_us"]:
            yield f"{name} {_age(moment, name)}, above {_ms(row['max_age_us'])}"


def _late(moment: Moment) -> Iterator[str]:
    for name, said, row in moment.members:
        waits = max(said["latency_us"], said["pending_us"])
        if waits > row["deadline_us"]:
            yield f"{name} took {_ms(waits)}, above {_ms(row['deadline_us'])}"


def _insane(moment: Moment) -> Iterator[str]:
    for name, said, row in moment.members:
        if said["serial"] and said["age_us"] == AGE_MAX:
            yield f"{name}: stamped later than the decision, or with no time"
        elif said["bad"]:
            yield f"{name}: {said['bad']} scores are no numbers, 0 may be"
        elif said["out_of_range"]:
            yield f"{name}: {said['out_of_range']} scores outside their range, 0 may be"
        elif said["rail"] > row["max_rail"]:
            yield f"{name}: {said['rail']} scores at the upper rail, above {row['max_rail']}"
        elif said["serial"] and said["distinct"] < row["min_distinct"]:
            yield f"{name}: {said['distinct']} different scores, below {row['min_distinct']}"
        elif said["serial"] and not row["sum_min"] <= said["sum"] * ONE <= row["sum_max"]:
            yield (
                f"{name}: scores add up to {said['sum']:.3f}, outside "
                f"{row['sum_min'] / ONE:.3f} to {row['sum_max'] / ONE:.3f}"
            )


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
    for name, evidence, row in moment.channels:
        asks = ", ".join(
            f"{o} asks {row[o]['certainty'] / ONE:.2f} of {row[o]['quorum']}{_over(row[o])}"
            for o in OPERATIONS
        )
        yield (f"{name}: certainty {evidence['certainty']:.2f}, {evidence['votes']} votes; {asks}")


def _over(demand: Mapping[str, int]) -> str:
    return f" on {demand['frames']} frames in a row" if demand["frames"] > 1 else ""


def _unauthorized(moment: Moment) -> Iterator[str]:
    """Who said something that was not granted at all, else who was granted half of what the vote
    asks for, else who may not speak in some mode, where nobody knows which it was."""
    yield from [*_refused(moment)] or [*_half_granted(moment)] or _limited(moment)


def _refused(moment: Moment) -> Iterator[str]:
    for name, said, row in moment.members:
        if said["label"] < 0:
            continue
        if moment.before is not None and moment.before not in _modes(row):
            allowed = ", ".join(mode.name for mode in _modes(row))
            yield f"{name} spoke in {moment.before.name}; it may in {allowed}"
        about = moment.policy["labels"][said["label"]]["channel"] if row["kind"] == BY_LABEL else -1
        if about >= 0 and not _granted(row, about):
            yield f"{name} spoke of {moment.policy['channels'][about]['name']}, which it may not"


def _half_granted(moment: Moment) -> Iterator[str]:
    for index, (channel, evidence, _) in enumerate(moment.channels):
        for name, said, row in moment.members:
            granted = _granted(row, index)
            agrees = row["kind"] != BY_LABEL or said["label"] == evidence["label"]
            if agrees and granted in (1, 2):
                yield f"{name} may only {OPERATIONS[granted - 1]} {channel}"


def _limited(moment: Moment) -> Iterator[str]:
    for name, _, row in moment.members:
        if moment.before is None and len(_modes(row)) < len(Mode.__members__):
            yield f"{name} may speak in {', '.join(mode.name for mode in _modes(row))} alone"


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
        if moment.decision.ages_ms[row["name"]] * 1000 > row["max_age_us"]:
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


def _unsigned(moment: Moment) -> Iterator[str]:
    yield "nobody trusted vouches for the bundle"


def _conflict(moment: Moment) -> Iterator[str]:
    yield "no command satisfies range and rate at once"


def _link(moment: Moment) -> Iterator[str]:
    yield LINK


def _silent(moment: Moment) -> Iterator[str]:
    yield "the microcontroller was silent, or an output took no decisions in time"


def _recorder(moment: Moment) -> Iterator[str]:
    yield "records found no room, or the recorder or another log could not write"


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
        if CAUSES[row["cause"]] != cause:
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


_FINDERS: dict[str, Callable[[Moment], Iterator[str]]] = {
    "NOT_ARMED": _not_armed,
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
    "ENVELOPE_CONFLICT": _conflict,
    "OVERRUN": _overrun,
    "LINK_LOST": _silent,
    "LINK_FAULTY": _link,
    "ANSWER_WRONG": _link,
    "PEER_STOPPED": _link,
    "SELF_TEST": _link,
    "RECORDER_LOST": _recorder,
    "UNSIGNED_BUNDLE": _unsigned,
    "RISK_RAISED": partial(_raised, "RISK_RAISED"),
    "RISK_HIGH": partial(_raised, "RISK_HIGH"),
}
