# SPDX-License-Identifier: Apache-2.0
"""What a guard.toml must fulfil beyond well-formed tables; one function for each table."""

from __future__ import annotations

from edgeguard.config import channel_rules, detector_rules, mcu, schema
from edgeguard.config import vocabulary as words
from edgeguard.config.draft import Draft
from edgeguard.config.fixed import ONE, q16_floor
from edgeguard.config.lines import KeyPath


def check(made: Draft) -> None:
    """Report every broken rule of the tables that could be structured."""
    if made.guard:
        _guard(made, made.guard)
    if made.controller:
        _controller(made, made.controller)
    for name, camera in made.cameras.items():
        _camera(made, name, camera)
    for name, member in made.members.items():
        _member(made, name, member)
    for name, channel in made.channels.items():
        channel_rules.check(made, name, channel)
    for name, detector in made.detectors.items():
        detector_rules.check(made, name, detector)
    detector_rules.check_together(made)
    for name, row in made.causes.items():
        _cause(made, name, row)
    _rearm(made)
    _mcu(made)
    _names(made)


def _names(made: Draft) -> None:
    """Names that would mean two things to the guard."""
    if "engaged" in made.names["signal"]:
        made.report.add(
            ("signal", "engaged"),
            "decide() reads `engaged` as whether the vehicle asks for commands; name it otherwise",
        )
    for name in set(made.names["member"]) & set(made.names["camera"]):
        made.report.add(
            ("member", name),
            "is also the name of a camera; ages are reported by name, so rename one",
        )


def _guard(made: Draft, guard: schema.Guard) -> None:
    gap = guard.max_gap_ms
    if gap is not None and gap < 2 * guard.period_ms:
        made.report.add(
            ("guard", "max_gap_ms"),
            f"is {gap:g}; every normal tick would be near it; at least 2 periods"
            f" ({2 * guard.period_ms:g} ms)",
        )


def _controller(made: Draft, controller: schema.Controller) -> None:
    if made.guard and controller.budget_ms > made.guard.period_ms:
        made.report.add(
            ("controller", "budget_ms"),
            f"is {controller.budget_ms:g}; longer than the control period"
            f" ({made.guard.period_ms:g} ms), which would then be missed",
        )


def _camera(made: Draft, name: str, camera: schema.Camera) -> None:
    least_ms = _next_frame_ms(made, camera)
    if camera.max_age_ms < least_ms:
        made.report.add(
            ("camera", name, "max_age_ms"),
            f"is {camera.max_age_ms:g}; shorter than the time between two frames and a control"
            f" period ({least_ms:g} ms), so frames would be lost that come in time",
        )


def _next_frame_ms(made: Draft, camera: schema.Camera) -> float:
    """Until the next frame can have been seen by a decision."""
    return 1000.0 / camera.rate_hz + (made.guard.period_ms if made.guard else 0.0)


def _member(made: Draft, name: str, member: schema.Member) -> None:
    at: KeyPath = ("member", name)
    if member.camera is None:
        if member.runtime != "external":
            made.report.add((*at, "camera"), "missing; name the camera whose frames it looks at")
    elif made.known("camera", member.camera, (*at, "camera")) and member.camera in made.cameras:
        camera = made.cameras[member.camera]
        least_ms = _next_frame_ms(made, camera)
        if member.max_age_ms < least_ms:
            made.report.add(
                (*at, "max_age_ms"),
                f"is {member.max_age_ms:g}; shorter than the time between two frames and a control"
                f" period ({least_ms:g} ms), so its vote would come and go",
            )
        else:
            _row_of_frames(made, at, member, 1000.0 / camera.rate_hz)
    if member.deadline_ms > member.max_age_ms:
        made.report.add(
            (*at, "deadline_ms"),
            f"is {member.deadline_ms:g}; a result that late is already older than max_age_ms"
            f" ({member.max_age_ms:g} ms)",
        )
    for channel in member.may_suggest.operations:
        made.known("channel", channel, (*at, "may_suggest"))
    unauthorized = made.causes.get("UNAUTHORIZED_SUGGESTION")
    if unauthorized and unauthorized.severity not in member.in_modes:
        made.report.add(
            (*at, "in_modes"),
            f"leaves out {unauthorized.severity}, the severity of [cause.UNAUTHORIZED_SUGGESTION]:"
            " what it says there would keep the guard there; add that mode, or lower the severity",
        )
    elif "NOMINAL" not in member.in_modes:
        made.report.add(
            (*at, "in_modes"),
            "leaves out NOMINAL: what it says there is UNAUTHORIZED_SUGGESTION, so the guard would"
            " leave NOMINAL as often as it comes back; add that mode",
        )
    _model(made, at, member)
    _process(made, at, member)


def _row_of_frames(made: Draft, at: KeyPath, member: schema.Member, frame_ms: float) -> None:
    """What was said of a frame has to be held until the next one is answered."""
    least_ms = frame_ms + member.deadline_ms
    for name, channel in made.channels.items():
        operations = member.may_suggest.operations.get(name, ())
        in_a_row = any(channel.demands[o].frames > 1 for o in operations)
        if member.max_age_ms < least_ms and in_a_row:
            made.report.add(
                (*at, "max_age_ms"),
                f"is {member.max_age_ms:g}; [channel.{name}] asks for frames in a row, so it must"
                f" be held until the next answer is due ({least_ms:g} ms: the time between two"
                " frames and deadline_ms)",
            )


def _process(made: Draft, at: KeyPath, member: schema.Member) -> None:
    if member.process is None:
        return
    if member.runtime == "external":
        made.report.add((*at, "process"), "an external member has no process here; leave it out")
    elif member.isolation == "none":
        made.report.add((*at, "process"), 'has isolation = "none"; leave one of the two out')


def _model(made: Draft, at: KeyPath, member: schema.Member) -> None:
    if member.runtime == "external":
        if (member.card is None) == (member.model is None):
            made.report.add(
                (*at, "card"), "an external member is described by its card; give card = FILE"
            )
    elif member.model is None:
        made.report.add((*at, "model"), 'missing; name the model file, or runtime = "external"')
    kind = member.runtime.replace("tflite", "litert")
    for suffix, runtime in ((".onnx", "onnx"), (".tflite", "litert")):
        if (member.model or "").endswith(suffix) and kind not in (runtime, "external"):
            made.report.add(
                (*at, "runtime"),
                f'is "{member.runtime}", but the model is a {suffix} file; use "{runtime}"',
            )
    for key, runtime in (("providers", "onnx"), ("delegates", "litert")):
        if getattr(member, key) and kind != runtime:
            made.report.add(
                (*at, key), f'only for runtime = "{runtime}"; this one is "{member.runtime}"'
            )


_AT_LEAST = {
    "STALE_MODEL": "FALLBACK",
    "TIME_FAULT": "FALLBACK",
    "FRAME_LOST": "FALLBACK",
    "CONTROLLER_LOST": "SAFE_STOP",
}


def _cause(made: Draft, name: str, row: schema.CauseRow) -> None:
    at: KeyPath = ("cause", name)
    written = made.raw.get("cause")
    if name == "NOT_ARMED" and isinstance(written, dict) and name in written:
        made.report.add(at, "fixed; before arming the mode is SAFE_STOP, and arming ends it")
        return
    least = _AT_LEAST.get(name, "NOMINAL")
    if words.SEVERITIES.index(row.severity) < words.SEVERITIES.index(least):
        made.report.add(
            (*at, "severity"),
            f'is "{row.severity}"; {name} leaves nothing to trust: at least "{least}"',
        )
    if row.severity == "SAFE_STOP" and row.clears == "itself":
        key = "clears" if "clears" in made.raw["cause"][name] else "severity"
        made.report.add(
            (*at, key),
            'SAFE_STOP may not clear by "itself"; use "rearm" or "never", or a lower severity',
        )
    if name == "CONTROLLER_LOST" and made.guard:
        stated = isinstance(written, dict) and "on_ms" in written.get(name, {})
        default = "" if stated else " by default"
        _controller_lost(made, (*at, "on_ms"), row.on_ms, made.guard.period_ms, default)
    if row.off_ms < row.on_ms:
        key = "off_ms" if "off_ms" in made.raw["cause"][name] else "on_ms"
        made.report.add(
            (*at, key),
            f"off_ms ({row.off_ms:g}) is shorter than on_ms ({row.on_ms:g}); a fault that comes and"
            " goes would chatter",
        )


# A machine can be busy for that long, however short the period: the default of on_ms.
_BUSY_MS = 30.0


def _controller_lost(
    made: Draft, path: KeyPath, on_ms: float, period_ms: float, default: str
) -> None:
    """Two late ticks are a busy machine; but until it acts the models go on, and command with
    nothing behind them that could take over."""
    least_ms, most_ms = 3 * period_ms, max(10 * period_ms, _BUSY_MS)
    if on_ms < least_ms:
        made.report.add(
            path,
            f"is {on_ms:g}{default}; two late ticks would stop the vehicle: at least three control"
            f" periods ({least_ms:g} ms)",
        )
    elif on_ms > most_ms:
        made.report.add(
            path,
            f"is {on_ms:g}{default}; for so long the models would command with no controller to"
            f" fall back to: at most {most_ms:g} ms (ten control periods, or {_BUSY_MS:g} ms)",
        )


def _rearm(made: Draft) -> None:
    waiting = [n for n, r in made.causes.items() if r.clears == "rearm" and n != "NOT_ARMED"]
    if "rearm" not in made.raw and waiting:
        made.report.add(
            ("rearm",),
            f"missing; {', '.join(waiting)} clear by re-arm, which waits for standstill;"
            ' add [rearm], or give them clears = "never"',
        )
    rearm = made.rearm
    if rearm is None or not made.known(
        "signal", rearm.standstill_signal, ("rearm", "standstill_signal")
    ):
        return
    signal = made.signals.get(rearm.standstill_signal)
    if signal is None:
        return
    if signal.unit not in words.SPEED_UNITS:
        made.report.add(
            ("rearm", "standstill_signal"),
            f"is in {signal.unit}; standstill is a speed: {', '.join(words.SPEED_UNITS)}",
        )
    if q16_floor(rearm.standstill_below) < 1:
        made.report.add(
            ("rearm", "standstill_below"),
            f"is {rearm.standstill_below:g}, less than the core's smallest step (1/{ONE}"
            f" {signal.unit}): not even 0 would be standstill, and nothing could re-arm; give the"
            " speed below which it stands",
        )
    elif not max(signal.range.low, 0.0) <= rearm.standstill_below < signal.range.high:
        made.report.add(
            ("rearm", "standstill_below"),
            f"is {rearm.standstill_below:g}, outside the signal's range"
            f" [{signal.range.low:g}, {signal.range.high:g}] or at its end, where every speed is"
            " standstill; give the speed below which it stands",
        )


def _mcu(made: Draft) -> None:
    whole = all(
        len(found) == len(made.names[section])
        for section, found in (("channel", made.channels), ("signal", made.signals))
    )
    if made.mcu is None or made.guard is None or not whole:
        return
    parts = mcu.Parts(made.guard, made.mcu, made.channels, made.signals, made.rearm)
    for path, problem in parts.problems():
        made.report.add(path, problem)
