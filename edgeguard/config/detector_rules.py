# SPDX-License-Identifier: Apache-2.0
"""What a [detector.NAME] must fulfil, by its kind."""

from __future__ import annotations

import math

from edgeguard.config import schema
from edgeguard.config import vocabulary as words
from edgeguard.config.draft import Draft
from edgeguard.config.fixed import q16_ceil, q16_floor
from edgeguard.config.lines import KeyPath
from edgeguard.config.structure import one_of

# What each kind needs and may have besides kind and cause.
_LIMITS = ("above", "below", "max_false_trips_per_hour")
_NEEDS = {
    "image": ("feature", "camera"),
    "score": ("feature", "member"),
    "embedding": ("feature", "member"),
    "history": ("feature", "member"),
    "association": ("between", "relation"),
    "bus": ("feature",),
    "risk": ("max_false_trips_per_hour",),
}
_MAY = {
    "image": _LIMITS,
    "score": _LIMITS,
    "embedding": _LIMITS,
    "history": ("above", "max_false_trips_per_hour"),
    "association": (*_LIMITS, "scale", "offset", "delay_ms", "least"),
    "bus": (*_LIMITS, "max_age_ms"),
    "risk": (),
}
_WHY = {
    "feature": "say what it measures",
    "camera": "name the camera that it watches",
    "member": "name the member that it watches",
    "between": "name the signals, channels or members that belong together",
    "relation": "say how they belong together",
    "max_false_trips_per_hour": "say how often it may be raised by chance",
    "cause": "say what it means when it trips",
}


def check(made: Draft, name: str, detector: schema.Detector) -> None:
    """Report every broken rule of one detector."""
    at: KeyPath = ("detector", name)
    kind = detector.kind
    _keys(made, at, detector)
    features = words.DETECTOR_FEATURES[kind]
    if detector.feature is not None and features and detector.feature not in features:
        made.report.add(
            (*at, "feature"),
            f'is "{detector.feature}", which a detector of kind "{kind}" has not; '
            + one_of(features),
        )
    causes = words.DETECTOR_CAUSES[kind]
    if detector.cause is None and len(causes) > 1:
        made.report.add((*at, "cause"), f"missing; {_WHY['cause']}; {one_of(causes)}")
    elif detector.cause is not None and detector.cause not in causes:
        made.report.add(
            (*at, "cause"), f'is "{detector.cause}"; a detector of kind "{kind}": {one_of(causes)}'
        )
    for section in ("camera", "member"):
        made.known(section, getattr(detector, section), (*at, section))
    if kind == "embedding" and detector.member in made.members:
        _embedding(made, at, made.members[detector.member])
    if kind == "association":
        _association(made, at, detector)
    if kind == "history":
        _history(made, at, detector)
    if kind != "risk":
        _thresholds(made, at, detector)


def check_together(made: Draft) -> None:
    """A risk level takes two rows of the core's table, and there is one."""
    risks = [name for name, d in made.detectors.items() if d.kind == "risk"]
    for name in risks[1:]:
        made.report.add(("detector", name), f"a second risk level; there is [detector.{risks[0]}]")
    most = words.MOST["detector"]
    if len(made.names["detector"]) <= most < len(made.names["detector"]) + len(risks[:1]):
        made.report.add(
            ("detector", risks[0]), f"takes two of the core's {most} places; remove a detector"
        )


def _keys(made: Draft, at: KeyPath, detector: schema.Detector) -> None:
    needed, allowed = _NEEDS[detector.kind], _MAY[detector.kind]
    for key in _WHY | dict.fromkeys((*_LIMITS, *_MAY["association"], "max_age_ms"), ""):
        given = getattr(detector, key) not in (None, ())
        if key in needed and not given:
            made.report.add((*at, key), f"missing; {_WHY[key]}")
        elif given and key not in (*needed, *allowed, "cause"):
            watches = next((k for k in ("camera", "member") if k in needed), "")
            what = f"watches a {watches}" if watches else "takes " + ", ".join(needed + allowed)
            made.report.add((*at, key), f'not for kind "{detector.kind}"; it {what}')


def _embedding(made: Draft, at: KeyPath, member: schema.Member) -> None:
    if member.runtime == "external":
        made.report.add(
            (*at, "member"), "is external: its embedding does not come here; watch another member"
        )


def _history(made: Draft, at: KeyPath, detector: schema.Detector) -> None:
    if detector.feature == "changes":
        return
    member = made.members.get(detector.member or "")
    if member is not None and member.runtime == "external":
        made.report.add(
            (*at, "member"),
            f"is external: what it is shown does not come here; of it only changes can be counted,"
            f" not {detector.feature}",
        )
    if detector.above == "calibrated":
        made.report.add(
            (*at, "above"),
            f'is "calibrated", but tracks say nothing about {detector.feature}; give a number, see'
            " docs/detectors.md",
        )


def _association(made: Draft, at: KeyPath, detector: schema.Detector) -> None:
    relation = detector.relation
    wanted = 1 if relation == "rate" else 2
    if relation and detector.between and len(detector.between) != wanted:
        made.report.add(
            (*at, "between"),
            f'names {len(detector.between)}; relation = "{relation}" is of {wanted}',
        )
    named = [
        operand(made, (*at, "between", index), text) for index, text in enumerate(detector.between)
    ]
    if len(named) == 2 and named[0] == named[1] and named[0] and _says_nothing(detector):
        made.report.add(
            (*at, "between", 1),
            f'is "{detector.between[1]}" as the first is, and so the number never changes; name '
            'what it belongs to, or take relation = "rate" for how fast it changes',
        )
    for key, relations in (("scale", ("difference", "sum")), ("offset", ("difference", "sum")),
                           ("least", ("ratio",))):  # fmt: skip
        if getattr(detector, key) is not None and relation and relation not in relations:
            made.report.add((*at, key), f"only for relation {' or '.join(relations)}")
    if relation == "ratio" and detector.least is None:
        made.report.add(
            (*at, "least"), "missing; say from which size on the second of the two is a divisor"
        )
    _units(made, at, detector, named)
    _delay(made, at, detector)


def _units(
    made: Draft, at: KeyPath, detector: schema.Detector, named: list[tuple[str, str] | None]
) -> None:
    """What is subtracted or added up is in one unit, or a scale says how they convert."""
    if detector.relation not in ("difference", "sum") or detector.scale is not None:
        return
    units = [_unit(made, *operand) for operand in named if operand]
    if len(units) == 2 and None not in units and units[0] != units[1]:
        made.report.add(
            (*at, "scale"),
            f"missing; {detector.between[0]} is in {units[0]}, {detector.between[1]} in"
            f" {units[1]}; say by what the second is multiplied, nothing is converted",
        )


def _unit(made: Draft, section: str, name: str) -> str | None:
    """The unit of an operand; None where its table is broken or it speaks in several."""
    if section == "signal":
        return made.signals[name].unit if name in made.signals else None
    member = made.members.get(name) if section == "member" else None
    names = member.may_suggest.operations if member else [name]
    units = {made.channels[n].unit for n in names if n in made.channels}
    return units.pop() if len(units) == 1 else None


def _says_nothing(detector: schema.Detector) -> bool:
    """Of one operand held against itself: whether the relation cancels it. What another scale, a
    product or an earlier time leaves of it can be held against a limit."""
    if detector.relation == "ratio":
        return not detector.delay_ms
    cancels = {"difference": 1.0, "sum": -1.0}.get(detector.relation or "")
    scale = 1.0 if detector.scale is None else detector.scale
    return cancels is not None and not detector.delay_ms and scale in (cancels, "calibrated")


def _delay(made: Draft, at: KeyPath, detector: schema.Detector) -> None:
    """A rate is that over `delay_ms`; of other relations it shifts the second of the two."""
    if made.guard is None:
        return
    period, delay = made.guard.period_ms, detector.delay_ms
    if delay is None and detector.relation == "rate":
        made.report.add((*at, "delay_ms"), "missing; say over which time the rate is taken")
    least = period if detector.relation == "rate" else 0.0
    most = words.MOST_DELAY_PERIODS * period
    if delay is not None and not least <= delay <= most:
        made.report.add(
            (*at, "delay_ms"), f"is {delay:g}; must be {least:g} to {most:g} ms at this period"
        )


def operand(made: Draft, at: KeyPath, text: str) -> tuple[str, str] | None:
    """Section and name of "speed" or "signal.speed"; None when reported, or not to be told."""
    section, dot, name = text.partition(".")
    if dot and section in words.OPERANDS:
        return (section, name) if made.known(section, name, at) else None
    found = [s for s in words.OPERANDS if text in made.names[s]]
    if len(found) == 1:
        return found[0], text
    if found:
        ways = " or ".join(f'"{s}.{text}"' for s in found)
        made.report.add(at, f'is "{text}", which is more than one thing; write {ways}')
    else:
        known = [n for s in words.OPERANDS for n in made.names[s]]
        made.report.add(at, f'is "{text}": no signal, channel or member; {one_of(known)}')
    return None


def _thresholds(made: Draft, at: KeyPath, detector: schema.Detector) -> None:
    low, high = detector.below, detector.above
    if low is None and high is None:
        made.report.add(at, "has no limit; give above, below or both")
    order(made, at, detector)
    ends = words.FEATURE_ENDS.get(detector.feature or "")
    if ends:
        _reachable(made, (*at, "below"), detector, low, ends)
        _reachable(made, (*at, "above"), detector, high, ends)


def _reachable(
    made: Draft, at: KeyPath, detector: schema.Detector, limit: object, ends: tuple[float, float]
) -> None:
    """A limit that some number passes and some does not; calibrated ones are as they were found."""
    least, most = ends
    idle = least if at[-1] == "below" else most  # nothing lies beyond it
    if isinstance(limit, float) and (limit == idle or not least <= limit <= most):
        span = f"between {least:g} and {most:g}" if most < math.inf else f"at {least:g} or above"
        made.report.add(
            at,
            f"is {limit:g}; {detector.feature} lies {span}, so it would trip never, or always",
        )


def order(made: Draft, at: KeyPath, detector: schema.Detector) -> None:
    """Some values must lie between the two limits; also asked when they were calibrated."""
    low, high = detector.below, detector.above
    if isinstance(low, str) or isinstance(high, str) or low is None or high is None:
        return
    if q16_ceil(low) > q16_floor(high):
        made.report.add(
            (*at, "below"), f"is {low:g}, above `above` ({high:g}); it would trip on everything"
        )
