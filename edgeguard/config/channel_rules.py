# SPDX-License-Identifier: Apache-2.0
"""What a [channel.NAME] table must fulfil beyond being well formed."""

from __future__ import annotations

from inspect import Parameter, signature

from edgeguard.config import schema
from edgeguard.config.draft import Draft
from edgeguard.config.fixed import q16, q16_ceil, q16_floor, steps_per_period
from edgeguard.config.lines import KeyPath
from edgeguard.config.structure import describe, meant, one_of
from edgeguard.config.vocabulary import MOST_ROWS, OPERATIONS
from edgeguard.decision.controllers import BUILT_IN

Limits = schema.Channel | schema.Limits | schema.Row


def check(made: Draft, name: str, channel: schema.Channel) -> None:
    """Report every broken rule of one channel."""
    at: KeyPath = ("channel", name)
    _kind(made, at, channel)
    _measured(made, at, channel)
    _limits(made, at, channel, channel)
    if channel.degraded:
        _limits(made, (*at, "degraded"), channel, channel.degraded)
    for i, row in enumerate(channel.table):
        _limits(made, (*at, "table", i), channel, row)
    _table(made, at, channel)
    _meet(made, at, channel)
    _means(made, at, channel)
    _fallback(made, at, channel)
    for operation in OPERATIONS:
        _quorum(made, name, channel, operation)


def _kind(made: Draft, at: KeyPath, channel: schema.Channel) -> None:
    if channel.kind == "value" and channel.dispersion is None:
        made.report.add(
            (*at, "dispersion"), "missing; say how far from the mid value a supporter may lie"
        )
    width = channel.range.high - channel.range.low
    if channel.kind == "value" and channel.dispersion is not None and channel.dispersion >= width:
        made.report.add(
            (*at, "dispersion"),
            f"is {channel.dispersion:g}, as wide as the channel's range ({width:g}) or wider: any"
            " two members would support each other; make it smaller",
        )
    if channel.kind == "label" and channel.dispersion is not None:
        made.report.add((*at, "dispersion"), 'only for kind = "value"; labels are counted')
    for operation, demand in channel.demands.items():
        if channel.kind == "value" and demand.frames > 1:
            made.report.add(
                (*at, operation, "frames"),
                'only for kind = "label"; a value is another one on every frame',
            )
    if channel.kind == "value" and channel.means:
        made.report.add((*at, "means"), 'only for kind = "label"; values mean themselves')


def _measured(made: Draft, at: KeyPath, channel: schema.Channel) -> None:
    """Not engaged, the command follows it: it must be able to say all that can be commanded."""
    path: KeyPath = (*at, "measured")
    signal = _same_unit(made, path, channel.measured, channel)
    if signal is None:
        return
    own, said = channel.range, signal.range
    if own.low < said.low or own.high > said.high:
        made.report.add(
            path,
            f"[signal.{channel.measured}] is valid in [{said.low:g}, {said.high:g}] only, narrower"
            f" than the channel's [{own.low:g}, {own.high:g}], so following its own command would"
            " be INPUT_INVALID; widen the signal's range",
        )


def _same_unit(
    made: Draft, path: KeyPath, name: str | None, channel: schema.Channel
) -> schema.Signal | None:
    """The signal that a key of a channel names; None where it is not given or reported."""
    if not made.known("signal", name, path):
        return None
    signal = made.signals.get(name or "")
    if signal is None or signal.unit == channel.unit:
        return signal
    made.report.add(
        path,
        f"[signal.{name}] is in {signal.unit}, the channel in {channel.unit};"
        " use one unit, nothing is converted",
    )
    return None


def _limits(made: Draft, at: KeyPath, channel: schema.Channel, limits: Limits) -> None:
    """One envelope: able to move, able to stop, and no wider than the channel's own."""
    for key in ("rise", "fall"):
        rate, outer = getattr(limits, key), getattr(channel, key)
        if rate > outer:
            made.report.add((*at, key), f"is {rate:g}, wider than the channel's own ({outer:g})")
        if made.guard and steps_per_period(rate, made.guard.period_ms) < 1:
            made.report.add(
                (*at, key),
                f"is {rate:g}; less than the smallest step (1/65536) in one period of"
                f" {made.guard.period_ms:g} ms, so the channel would never move",
            )
    own, outer_range = limits.range, channel.range
    if own.low < outer_range.low or own.high > outer_range.high:
        made.report.add(
            (*at, "range"),
            f"is [{own.low:g}, {own.high:g}], wider than the channel's own"
            f" [{outer_range.low:g}, {outer_range.high:g}]",
        )
    if not own.low <= channel.stop <= own.high:
        which = (*at, "stop") if limits is channel else (*at, "range")
        made.report.add(
            which,
            f"stop ({channel.stop:g}) lies outside [{own.low:g}, {own.high:g}], so SAFE_STOP"
            " could not reach it",
        )


def _table(made: Draft, at: KeyPath, channel: schema.Channel) -> None:
    if channel.table_signal is None and channel.table:
        made.report.add((*at, "table_signal"), "missing; name the signal that picks the row")
    if channel.table_signal is not None and not channel.table:
        made.report.add((*at, "table_signal"), "there is no table that it would pick from")
    if len(channel.table) > MOST_ROWS:
        made.report.add((*at, "table"), f"has {len(channel.table)} rows; at most {MOST_ROWS}")
    for i, (before, row) in enumerate(zip(channel.table, channel.table[1:], strict=False), 1):
        if q16(row.speed) <= q16(before.speed):
            made.report.add(
                (*at, "table", i, "speed"),
                f"is {row.speed:g} after {before.speed:g}; rows must go up in speed",
            )
    if not made.known("signal", channel.table_signal, (*at, "table_signal")):
        return
    signal = made.signals.get(channel.table_signal or "")
    for i, row in enumerate(channel.table if signal else ()):
        if signal and not signal.range.low <= row.speed <= signal.range.high:
            made.report.add(
                (*at, "table", i, "speed"),
                f"is {row.speed:g}, outside the range of [signal.{channel.table_signal}]"
                f" [{signal.range.low:g}, {signal.range.high:g}]",
            )


def _meet(made: Draft, at: KeyPath, channel: schema.Channel) -> None:
    """Rows and the degraded envelope must leave a common range."""
    if channel.degraded is None:
        return
    degraded = channel.degraded.range
    for i, row in enumerate(channel.table):
        low, high = max(row.range.low, degraded.low), min(row.range.high, degraded.high)
        if q16_ceil(low) > q16_floor(high):
            made.report.add(
                (*at, "table", i, "range"),
                f"is [{row.range.low:g}, {row.range.high:g}] and shares nothing with degraded"
                f" [{degraded.low:g}, {degraded.high:g}]",
            )


def _means(made: Draft, at: KeyPath, channel: schema.Channel) -> None:
    for label, value in channel.means.items():
        if isinstance(value, str) or channel.range.low <= value <= channel.range.high:
            continue
        made.report.add(
            (*at, "means", label),
            f"is {value:g} {channel.unit}, outside the channel's range"
            f" [{channel.range.low:g}, {channel.range.high:g}]",
        )


def _fallback(made: Draft, at: KeyPath, channel: schema.Channel) -> None:
    """A built-in controller must exist and take the parameters; one's own is tried at loading."""
    name, parameters = channel.fallback.controller, channel.fallback.parameters
    written = made.raw["channel"][at[1]]
    if ":" in name:
        return
    if name not in BUILT_IN:
        made.report.add(
            (*at, "fallback"),
            f'there is no controller "{name}"; {meant(name, BUILT_IN) or one_of(BUILT_IN)},'
            ' or your own as "module:attribute"',
        )
        return
    takes = tuple(signature(BUILT_IN[name]).parameters)
    for key in (k for k in takes if k not in parameters):
        if signature(BUILT_IN[name]).parameters[key].default is Parameter.empty:
            made.report.add((*at, "fallback"), f'{name} needs "{key}"')
    for key, value in parameters.items():
        loose = f"fallback_{key}"
        path: KeyPath = (*at, loose) if loose in written else (*at, "fallback", key)
        if key not in takes:
            hint = meant(key, takes) or one_of(takes)
            made.report.add(path, f"{name} has no such parameter; {hint}")
        elif key == "signal":
            _same_unit(made, path, value if isinstance(value, str) else describe(value), channel)
        elif not isinstance(value, int | float) or isinstance(value, bool):
            made.report.add(path, f"is {describe(value)}; must be a number")
        elif not channel.range.low <= value <= channel.range.high:
            made.report.add(
                path,
                f"is {value:g} {channel.unit}, outside the channel's range"
                f" [{channel.range.low:g}, {channel.range.high:g}]",
            )


def _quorum(made: Draft, name: str, channel: schema.Channel, operation: str) -> None:
    """Reachable in each mode that members command in or lead to; the first that is not is told."""
    if len(made.members) < len(made.names["member"]):
        return  # a member is not well formed yet: nobody knows what it is granted
    demand = channel.demands[operation]
    for mode in ("FALLBACK", "NOMINAL", "DEGRADED"):
        granted = [
            m for m, member in made.members.items()
            if mode in member.in_modes
            and operation in member.may_suggest.operations.get(name, ())
        ]  # fmt: skip
        if demand.quorum <= len(granted):
            continue
        back = mode == "FALLBACK"
        made.report.add(
            ("channel", name, operation, "quorum"),
            f"is {demand.quorum}, but {len(granted)} members may {operation} this channel"
            f"{'' if back else f' in {mode}'}{' (' + ', '.join(granted) + ')' if granted else ''}; "
            + (
                "it could never be reached, or FALLBACK never be left"
                if back
                else f"{mode} would be left each time that they ask for it; see their in_modes"
            ),
        )
        return
