# SPDX-License-Identifier: Apache-2.0
"""What a GuardConfig will do, as plain data and as tables that fit 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgeguard import config
from edgeguard.card import Card
from edgeguard.cli.notes import notes, process
from edgeguard.config import GuardConfig, schema
from edgeguard.config.detector_rows import RISK_CAUSES
from edgeguard.config.mcu import roles
from edgeguard.config.policy import max_gap_ms
from edgeguard.config.vocabulary import CAUSES, OPERATIONS, SEVERITIES
from edgeguard.sandbox import lacking

Cards = Mapping[str, Card]


def tables(cfg: GuardConfig, cards: Cards) -> list[Any]:
    """The whole behaviour, ready for a rich console."""
    parts: list[Any] = [_head(cfg), _inputs(cfg), _members(cfg, cards), _channels(cfg)]
    parts += [_operations(cfg)]
    if any(channel.means for channel in cfg.channels.values()):
        parts.append(_means(cfg))
    if cfg.detectors:
        parts.append(_detectors(cfg))
    parts += [_causes(cfg), Text(_READING, style="dim")]
    if cfg.mcu is not None:
        parts.append(_mcu(cfg))
    return parts + [Text(f"note: {note}", style="yellow") for note in notes(cfg, cards)]


def facts(cfg: GuardConfig, cards: Cards) -> dict[str, Any]:
    """The same for a machine: everything in the user's units."""
    bounds = config.bounds(cfg)
    return {
        "name": cfg.guard.name,
        "period_ms": cfg.guard.period_ms,
        "max_gap_ms": max_gap_ms(cfg),
        "members": {
            name: {
                "file": cards[name].file,
                "sha256": cards[name].sha256,
                "grants": {c: list(o) for c, o in member.may_suggest.operations.items()},
                "in_modes": list(member.in_modes),
                "deadline_ms": member.deadline_ms,
                "max_age_ms": member.max_age_ms,
                "process": process(member),
            }
            for name, member in cfg.members.items()
        },
        "isolation_lacks": list(lacking()),
        "channels": {name: _channel_facts(channel) for name, channel in cfg.channels.items()},
        "causes": {
            name: {
                "severity": row.severity,
                "on_ms": row.on_ms,
                "off_ms": row.off_ms,
                "clears": row.clears,
                "asks_operator": row.asks_operator,
                "evidence_after_ms": bounds[name].evidence_ms,
                "bound_ms": bounds[name].constant_ms,
                "bound_flapping_ms": bounds[name].flapping_ms,
            }
            for name, row in cfg.causes.items()
        },
        **({"mcu": _mcu_facts(cfg)} if cfg.mcu is not None else {}),
        "notes": notes(cfg, cards),
    }


def _channel_facts(channel: schema.Channel) -> dict[str, Any]:
    envelopes = {mode: _limits(limits) for mode, limits in _modes(channel)}
    return {
        "kind": channel.kind,
        "unit": channel.unit,
        "stop": channel.stop,
        "fallback": channel.fallback.controller,
        "envelopes": [{"when": mode, **limits} for mode, limits in envelopes.items()],
        "operations": {
            operation: {
                "certainty": demand.certainty,
                "quorum": demand.quorum,
                "frames": demand.frames,
            }
            for operation, demand in channel.demands.items()
        },
        "means": dict(channel.means),
    }


def _limits(limits: schema.Channel | schema.Limits | schema.Row) -> dict[str, Any]:
    return {
        "range": [limits.range.low, limits.range.high],
        "rise": limits.rise,
        "fall": limits.fall,
    }


def _modes(
    channel: schema.Channel,
) -> list[tuple[str, schema.Channel | schema.Limits | schema.Row]]:
    """Every envelope of a channel with when it holds."""
    modes: list[tuple[str, schema.Channel | schema.Limits | schema.Row]] = [("always", channel)]
    modes += [(f"{channel.table_signal} {row.speed:g}", row) for row in channel.table]
    if channel.degraded:
        modes.append(("DEGRADED", channel.degraded))
    return modes


_NUMERIC = {
    "deadline ms", "max age ms", "rise /s", "fall /s", "certainty", "quorum", "frames",
    "on", "off", "after", "bound", "flaps",
}  # fmt: skip


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        numeric = column in _NUMERIC
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    return table


def _head(cfg: GuardConfig) -> Text:
    return Text(
        f"{cfg.guard.name}: decides every {cfg.guard.period_ms:g} ms\n"
        f"a pause above {max_gap_ms(cfg):g} ms is TIME_FAULT\n"
        f"a controller slower than {cfg.controller.budget_ms:g} ms is CONTROLLER_LOST",
        style="bold",
    )


def _inputs(cfg: GuardConfig) -> Table:
    table = _table("Inputs", "input", "what is trusted", "otherwise")
    for name, camera in cfg.cameras.items():
        table.add_row(
            f"camera {name}",
            f"{camera.rate_hz:g} Hz, newest frame at most {camera.max_age_ms:g} ms old",
            "FRAME_LOST",
        )
    for name, signal in cfg.signals.items():
        tag = ", authenticated" if signal.authenticated else ""
        what = f"{_span(signal.range)} {signal.unit}{tag}"
        table.add_row(f"signal {name}", what, "INPUT_INVALID")
    if cfg.rearm:
        unit = cfg.signals[cfg.rearm.standstill_signal].unit
        table.add_row(
            "re-arm",
            f"|{cfg.rearm.standstill_signal}| below {cfg.rearm.standstill_below:g} {unit}",
            "refused",
        )
    return table


def _members(cfg: GuardConfig, cards: Cards) -> Table:
    table = _table("Members", "member", "model", "may suggest", "deadline ms", "max age ms")
    for name, member in cfg.members.items():
        grants = [
            channel if set(operations) == set(OPERATIONS) else f"{channel}: {', '.join(operations)}"
            for channel, operations in member.may_suggest.operations.items()
        ]
        if set(member.in_modes) != set(SEVERITIES):
            grants.append(f"only in {', '.join(member.in_modes)}")
        where = ", ".join(filter(None, (member.runtime, process(member))))
        table.add_row(
            name,
            f"{cards[name].file} ({where})",
            "\n".join(grants),
            f"{member.deadline_ms:g}",
            f"{member.max_age_ms:g}",
        )
    return table


def _channels(cfg: GuardConfig) -> Table:
    table = _table(
        "Channels: the limits of every command", "channel", "when", "range", "rise /s", "fall /s"
    )
    for name, channel in cfg.channels.items():
        for i, (mode, limits) in enumerate(_modes(channel)):
            label = f"{name} [{channel.unit}]" if i == 0 else ""
            table.add_row(
                Text(label), mode, _span(limits.range), f"{limits.rise:g}", f"{limits.fall:g}"
            )
        parameters = ", ".join(f"{k} {v}" for k, v in channel.fallback.parameters.items())
        rule = f"{channel.fallback.controller} {parameters}".strip()
        table.add_row("", "FALLBACK", f"rule: {rule}", "", "")
        table.add_row("", "SAFE_STOP", f"towards {channel.stop:g}", "", "")
        if channel.measured:
            table.add_row("", "not engaged", f"follows {channel.measured}", "", "")
    return table


def _operations(cfg: GuardConfig) -> Table:
    table = _table(
        "Operations: the evidence that each asks for",
        "operation",
        "certainty",
        "quorum",
        "frames",
        "granted to",
    )
    for name, channel in cfg.channels.items():
        for operation, demand in channel.demands.items():
            granted = [
                m for m, member in cfg.members.items()
                if operation in member.may_suggest.operations.get(name, ())
            ]  # fmt: skip
            certainty = demand.certainty
            table.add_row(
                f"{operation} {name}",
                certainty if isinstance(certainty, str) else f"{certainty:.4g}",
                f"{demand.quorum} of {len(granted)}",
                str(demand.frames),
                ", ".join(granted),
            )
    return table


def _means(cfg: GuardConfig) -> Table:
    table = _table(
        "Meanings: what a class commands; all others hold", "channel", "value", "classes"
    )
    for name, channel in cfg.channels.items():
        by_value: dict[str, list[str]] = {}
        for label, value in channel.means.items():
            text = value if isinstance(value, str) else f"{value:g} {channel.unit}"
            by_value.setdefault(text, []).append(label)
        for text, labels in by_value.items():
            table.add_row(name, text, ", ".join(labels))
    return table


def _detectors(cfg: GuardConfig) -> Table:
    table = _table("Detectors", "detector", "watches", "trips", "cause")
    for name, detector in cfg.detectors.items():
        trips = [
            f"{word} {limit if isinstance(limit, str) else format(limit, '.4g')}"
            for word, limit in (("below", detector.below), ("above", detector.above))
            if limit is not None
        ]
        table.add_row(name, _watches(detector), ", ".join(trips), _raises(detector))
    return table


def _watches(detector: schema.Detector) -> str:
    if detector.kind == "association":
        delay = f", {detector.delay_ms:g} ms" if detector.delay_ms else ""
        return f"{detector.relation} of {', '.join(detector.between)}{delay}"
    if detector.kind == "risk":
        return "all detectors and security events over time"
    where = detector.camera or detector.member or detector.kind
    return f"{where}: {detector.feature}"


def _raises(detector: schema.Detector) -> str:
    if detector.kind != "risk":
        return detector.raises
    return ", ".join(f"{cause} from level {n}" for n, cause in RISK_CAUSES.items())


def _causes(cfg: GuardConfig) -> Table:
    table = _table(
        "Causes, in ms: the longest time to the safe command",
        "cause", "mode", "on", "off", "clears", "after", "bound", "flaps",
    )  # fmt: skip
    bounds = config.bounds(cfg)
    for name in CAUSES:
        row, bound = cfg.causes[name], bounds[name]
        acts = row.severity != "NOMINAL"
        clears = "arming" if name == "NOT_ARMED" else row.clears
        table.add_row(
            name,
            row.severity + ("*" if row.asks_operator else ""),
            f"{row.on_ms:g}",
            f"{row.off_ms:g}",
            clears,
            f"{bound.evidence_ms:g}" if bound.evidence_ms else "",
            f"{bound.constant_ms:g}" if acts else "noted",
            f"{bound.flapping_ms:g}" if acts else "",
        )
    return table


def _mcu(cfg: GuardConfig) -> Table:
    facts = _mcu_facts(cfg)
    table = _table("Microcontroller: what it owns", "part", "channel", "measured by itself")
    table.add_row("speed", facts["speed"], facts["speed_signal"])
    table.add_row("steering", facts["steering"] or "none", facts["steering_signal"] or "none")
    tags = "with authentication" if facts["authenticated"] else "WITHOUT authentication"
    table.add_row("link", f"{facts['link']}, {tags}", "")
    return table


def _mcu_facts(cfg: GuardConfig) -> dict[str, Any]:
    assert cfg.mcu is not None
    found = roles(cfg)
    return {
        "speed": found.speed,
        "speed_signal": found.speed_signal,
        "steering": found.steering,
        "steering_signal": found.steering_signal,
        "link": cfg.mcu.link,
        "authenticated": cfg.mcu.authenticated,
    }


_READING = """\
after: what passes until an age, a deadline or the next frame is evidence at all
bound: from that evidence to the safe command if it stays, two periods included
flaps: the same if it comes and goes, present more than 20 % of the time
*    : also asks a person to take over"""


def _span(limits: schema.Range) -> str:
    return f"{limits.low:g} to {limits.high:g}"
