# SPDX-License-Identifier: Apache-2.0
"""From a GuardConfig to the integers that the decision core runs on.

Limits are rounded so that none gets wider than asked: upper ends, rates, age limits and the time
until a cause acts downwards; lower ends, certainties and the time until it lets go upwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeguard.card import Card
from edgeguard.config import fixed, schema
from edgeguard.config import vocabulary as words
from edgeguard.config.cards import label_list
from edgeguard.config.detector_rows import detector_rows, uncalibrated
from edgeguard.config.schema import GuardConfig

_DTYPES = {"float32": "f32", "int8": "i8", "uint8": "u8"}
_SUM_SLACK = 0.02  # what a softmax in 16-bit floats may be off by


def policy_dict(cfg: GuardConfig, cards: Mapping[str, Card]) -> dict[str, Any]:
    """The input of `_core.Policy`; `cards` by member name. Raises ConfigError."""
    rearm = cfg.rearm
    return {
        "period_us": fixed.us_floor(cfg.guard.period_ms),
        "max_gap_us": fixed.us_floor(max_gap_ms(cfg)),
        "controller_budget_us": fixed.us_floor(cfg.controller.budget_ms),
        "standstill_signal": _signal(cfg, rearm.standstill_signal if rearm else None),
        "standstill_below": fixed.q16_floor(rearm.standstill_below) if rearm else 0,
        "causes": [_cause(cfg.causes[name]) for name in words.CAUSES],
        "cameras": [
            {"name": name, "max_age_us": fixed.us_floor(camera.max_age_ms)}
            for name, camera in cfg.cameras.items()
        ],
        "signals": [
            {"name": name, **range_q16(signal.range)} for name, signal in cfg.signals.items()
        ],
        "members": [_member(cfg, name, cards[name]) for name in cfg.members],
        "channels": [_channel(cfg, name) for name in cfg.channels],
        "labels": _labels(cfg, cards),
        "detectors": detector_rows(cfg),
    }


def max_gap_ms(cfg: GuardConfig) -> float:
    """The longest pause between two decisions that is no TIME_FAULT: 10 periods unless given."""
    return cfg.guard.max_gap_ms or 10 * cfg.guard.period_ms


def _signal(cfg: GuardConfig, name: str | None) -> int:
    return words.NO_SIGNAL if name is None else list(cfg.signals).index(name)


def range_q16(limits: schema.Range) -> dict[str, int]:
    return {"min": fixed.q16_ceil(limits.low), "max": fixed.q16_floor(limits.high)}


def _cause(row: schema.CauseRow) -> dict[str, int]:
    return {
        "severity": words.SEVERITIES.index(row.severity),
        "clears": words.CLEARS.index(row.clears),
        "asks_operator": int(row.asks_operator),
        "on_us": fixed.us_floor(row.on_ms),
        "off_us": fixed.us_ceil(row.off_ms),
    }


def _member(cfg: GuardConfig, name: str, card: Card) -> dict[str, Any]:
    member = cfg.members[name]
    may = 0
    for channel, operations in member.may_suggest.operations.items():
        for operation in operations:
            bit = words.OPERATIONS.index(operation)
            may |= 1 << (2 * list(cfg.channels).index(channel) + bit)
    rail, distinct = member.max_rail, member.min_distinct
    sum_min, sum_max = _sum_range(card)
    camera = words.NO_CAMERA if member.camera is None else list(cfg.cameras).index(member.camera)
    return {
        "name": name,
        "kind": int(card.task == "regressor"),
        "deadline_us": fixed.us_floor(member.deadline_ms),
        "max_age_us": fixed.us_floor(member.max_age_ms),
        "modes": sum(1 << words.SEVERITIES.index(mode) for mode in set(member.in_modes)),
        "may": may,
        "max_rail": card.rail_allowance if rail is None else rail,
        "min_distinct": card.distinct_needed if distinct is None else distinct,
        "sum_min": sum_min,
        "sum_max": sum_max,
        "camera": camera,
        "scores": _scores(cfg, name, card),
    }


def _sum_range(card: Card) -> tuple[int, int]:
    """Sum of sane probabilities: 1, but for half a quantization step of each score."""
    scores = card.scores
    slack = _SUM_SLACK + scores.size * scores.scale / 2
    return fixed.q16_ceil(max(1.0 - slack, 0.0)), fixed.q16_floor(min(1.0 + slack, 1000.0))


def _scores(cfg: GuardConfig, name: str, card: Card) -> dict[str, Any]:
    scores = card.scores
    low, high = _value_range(cfg, name, card)
    return {
        "n": scores.size,
        "dtype": _DTYPES[scores.dtype],
        "scale": scores.scale if scores.dtype != "float32" else 1.0,
        "zero_point": scores.zero_point if scores.dtype != "float32" else 0,
        "kind": scores.kind,
        "temperature": cfg.temperatures.get(name, card.temperature),
        "value_min": low,
        "value_max": high,
    }


def _value_range(cfg: GuardConfig, name: str, card: Card) -> tuple[float, float]:
    """What a regressor may say: the card's range, else that of the channels it speaks for."""
    if card.value_range is not None:
        return card.value_range
    ranges = [cfg.channels[c].range for c in cfg.members[name].may_suggest.operations]
    return min(r.low for r in ranges), max(r.high for r in ranges)


def _channel(cfg: GuardConfig, name: str) -> dict[str, Any]:
    channel = cfg.channels[name]
    return {
        "name": name,
        "kind": words.CHANNEL_KINDS.index(channel.kind),
        "measured": _signal(cfg, channel.measured),
        "table_signal": _signal(cfg, channel.table_signal),
        "manoeuvre": 0,  # the stop command itself; a microcontroller's table may follow its rules
        "stop": inside_q16(channel.stop, channel.range),
        "dispersion": fixed.q16_floor(channel.dispersion or 0.0),
        "raise": _demand(cfg, ("channel", name, "raise"), channel.raise_),
        "lower": _demand(cfg, ("channel", name, "lower"), channel.lower),
        "rows": rows(channel, degraded=False),
        "degraded_rows": rows(channel, degraded=True),
    }


def inside_q16(value: float, limits: schema.Range) -> int:
    """To the nearest step that lies inside the limits."""
    ends = range_q16(limits)
    return min(max(fixed.q16(value), ends["min"]), ends["max"])


def _demand(cfg: GuardConfig, path: tuple[str, ...], demand: schema.Demand) -> dict[str, int]:
    certainty = demand.certainty
    if isinstance(certainty, str):
        raise uncalibrated(cfg, (*path, "certainty"))
    return {
        "certainty": fixed.q16_ceil(certainty),
        "quorum": demand.quorum,
        "frames": demand.frames,
    }


def rows(channel: schema.Channel, *, degraded: bool) -> list[dict[str, int]]:
    """The limit table of a channel; `degraded` rows are the strictest of the row and `degraded`."""
    tight = channel.degraded if degraded else None
    table: tuple[schema.Row | schema.Channel, ...] = channel.table or (channel,)
    made = []
    for row in table:
        limits = [row, tight] if tight else [row]
        ends = [range_q16(limit.range) for limit in limits]
        made.append(
            {
                "at": fixed.q16(row.speed) if isinstance(row, schema.Row) else 0,
                "min": max(e["min"] for e in ends),
                "max": min(e["max"] for e in ends),
                "rise": min(fixed.q16_floor(limit.rise) for limit in limits),
                "fall": min(fixed.q16_floor(limit.fall) for limit in limits),
            }
        )
    return made


def _labels(cfg: GuardConfig, cards: Mapping[str, Card]) -> list[dict[str, int]]:
    hold = {"channel": words.HOLD, "value": 0}
    meaning: dict[str, dict[str, int]] = {}
    for i, channel in enumerate(cfg.channels.values()):
        for label, value in channel.means.items():
            if not isinstance(value, str):
                meaning[label] = {"channel": i, "value": inside_q16(value, channel.range)}
    return [meaning.get(label, hold) for label in label_list(dict(cards))]
