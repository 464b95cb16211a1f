# SPDX-License-Identifier: Apache-2.0
"""F26: every mistake in a guard.toml is refused with its line, its key and what to do."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeguard import config
from edgeguard.errors import ConfigError

Edit = Callable[[str, str], Path]

RUDDER = """
[channel.rudder]
kind = "value"
unit = "rad"
range = [-0.5, 0.5]
rise = 0.4
fall = 0.4
stop = 0.0
dispersion = 0.1
fallback = { controller = "slow_and_hold" }
raise = { certainty = 0.5, quorum = 1 }
lower = { certainty = 0.5, quorum = 1 }
"""

SELF = """
[detector.self]
kind = "association"
between = ["speed", "signal.speed"]
above = 1.0
relation = """

# text in the example, what replaces it, text on the line that must be named, key path, phrase
REFUSED = [
    # structure
    ("fall = 4.0\nstop = 0.0\nmeasured", "stop = 0.0\nmeasured", "[channel.target_speed]",
     "channel.target_speed.fall", "missing; without it the channel may drop in one step"),
    ("rise = 1.5\nfall = 4.0\nstop", "fall = 4.0\nstop", "[channel.target_speed]",
     "channel.target_speed.rise", "missing; without it the channel may jump in one step"),
    ("stop = 0.0\nmeasured", "measured", "[channel.target_speed]",
     "channel.target_speed.stop", "SAFE_STOP has no command"),
    ("range = [0.0, 36.2]\nrise", "rise", "[channel.target_speed]",
     "channel.target_speed.range", "any command would pass"),
    ("lower = { certainty = 0.80, quorum = 1 }", "", "[channel.target_speed]",
     "channel.target_speed.lower", "missing"),
    ("raise = { certainty = 0.98, quorum = 2, frames = 3 }", "raise = { certainty = 0.98 }",
     "raise = {", "channel.target_speed.raise.quorum", "one member would decide alone"),
    ("rise = 1.5\nfall = 4.0\nstop", "rise = 1.5\nfal = 4.0\nfall = 4.0\nstop", "fal =",
     "channel.target_speed.fal", 'unknown key; did you mean "fall"?'),
    ("[rearm]", "[reram]", "[reram]", "reram", 'unknown table; did you mean "rearm"?'),
    ("[controller]", "[zebra]", "[zebra]", "zebra", "unknown table; known: guard"),
    ('name = "sign-speed"', "name = 3", "name = 3", "guard.name", "must be a text"),
    ('name = "sign-speed"', 'name = " "', 'name = " "', "guard.name", "is empty"),
    ("asks_operator = false", "asks_operator = 0", "asks_operator",
     "cause.FROZEN_INPUT.asks_operator", "must be true or false"),
    ("[camera.front]", "[camera]\nrate = 3\n[camera.front]", "rate = 3", "camera.rate",
     "write [camera.NAME]"),
    ("[camera.front]", '[camera."front left"]', "[camera.", 'camera."front left"', "is no name"),
    ("range = [0.0, 70.0]", "range = [70.0, 0.0]", "range = [70", "signal.speed.range",
     "the low end must be below the high end"),
    ("range = [0.0, 70.0]", "range = 70.0", "range = 70.0", "signal.speed.range", "[low, high]"),
    ("range = [0.0, 70.0]", "range = [0.0, 1e-9]", "range = [0", "signal.speed.range", "narrower"),
    ("range = [0.0, 70.0]", "range = [0.0, 40000.0]", "range = [0", "signal.speed.range[1]",
     "at most 32767"),
    # telemetry
    ("[rearm]", '[telemetry]\ndisclosure = "all"\n[rearm]', "disclosure",
     "telemetry.disclosure", "known: label, rounded, full"),
    ("[rearm]", "[telemetry]\nport = 70000\n[rearm]", "port = 70000",
     "telemetry.port", "must be at most 65535"),
    ("[rearm]", '[telemetry]\ntoken = "secret"\n[rearm]', "token =",
     "telemetry.token", 'did you mean "token_file"?'),
    # units
    ('[signal.speed]\nunit = "m/s"', '[signal.speed]\nunit = "kmh"', "kmh", "signal.speed.unit",
     'did you mean "km/h"?'),
    ('[signal.speed]\nunit = "m/s"', '[signal.speed]\nunit = "km/h"', "measured",
     "channel.target_speed.measured", "nothing is converted"),
    ('[signal.speed]\nunit = "m/s"', '[signal.speed]\nunit = "furlong"', "furlong",
     "signal.speed.unit", "known: m/s"),
    ('standstill_signal = "speed"', 'standstill_signal = "heading"', "standstill_signal",
     "rearm.standstill_signal", "standstill is a speed"),
    # references
    ('kind = "image"\ncamera = "front"', 'kind = "image"\ncamera = "frnt"', 'camera = "frnt"',
     "detector.dark.camera", 'there is no [camera.frnt]; did you mean "front"?'),
    ('standstill_signal = "speed"', 'standstill_signal = "velocity"', "velocity",
     "rearm.standstill_signal", "there is no [signal.velocity]"),
    ('measured = "speed"', 'measured = "sped"', "sped", "channel.target_speed.measured",
     "there is no [signal.sped]"),
    ('table_signal = "speed"', 'table_signal = "x"', "table_signal",
     "channel.target_speed.table_signal", "there is no [signal.x]"),
    ('may_suggest = ["target_speed"]', 'may_suggest = ["steer"]', "may_suggest",
     "member.plain.may_suggest", 'there is no [channel.steer]; did you mean "steering"?'),
    ('may_suggest = { target_speed = ["raise", "lower"] }',
     'may_suggest = { target_speed = ["rise"] }', "may_suggest",
     "member.compact.may_suggest.target_speed[0]", 'did you mean "raise"?'),
    ('may_suggest = ["target_speed"]', 'may_suggest = ["target_speed", "target_speed"]',
     "may_suggest", "member.plain.may_suggest", "twice"),
    ('may_suggest = ["target_speed"]', 'may_suggest = "target_speed"', "may_suggest",
     "member.plain.may_suggest", 'must be a list: ["target_speed"]'),
    ('may_suggest = ["target_speed"]', "may_suggest = []", "may_suggest",
     "member.plain.may_suggest", "grants nothing"),
    ('kind = "score"\nmember = "plain"', 'kind = "score"\nmember = "plainn"', "plainn",
     "detector.odd.member", 'did you mean "plain"?'),
    ('kind = "score"\nmember = "plain"', 'kind = "score"\nmember = "lane"', 'kind = "score"',
     "detector.odd.kind", "it says no certainty"),
    ('cause = "IMAGE_UNHEALTHY"', 'cause = "UNHEALTHY"', "UNHEALTHY", "detector.dark.cause",
     'did you mean "IMAGE_UNHEALTHY"?'),
    ('feature = "black_share"', 'feature = "energy"', "energy", "detector.dark.feature",
     'kind "image" has not'),
    ("[cause.FROZEN_INPUT]",
     '[detector.w]\nkind = "history"\nmember = "lane"\nfeature = "changes"\nabove = 3\n'
     "[cause.FROZEN_INPUT]", 'feature = "changes"', "detector.w.feature", "gives no label"),
    ("[cause.FROZEN_INPUT]",
     '[detector.w]\nkind = "history"\nmember = "plain"\nfeature = "flips"\nabove = 3\n'
     "[cause.FROZEN_INPUT]", 'member = "plain"', "detector.w.member",
     "only changes can be counted"),
    ("[cause.FROZEN_INPUT]", "[cause.FROZEN_INPUTS]", "FROZEN_INPUTS", "cause.FROZEN_INPUTS",
     'did you mean "FROZEN_INPUT"?'),
    ('fallback = "slow_and_hold"', 'fallback = "slow_hold"', "slow_hold",
     "channel.target_speed.fallback", 'did you mean "slow_and_hold"?'),
    ("fallback_floor = 5.5", "fallback_flor = 5.5", "fallback_flor",
     "channel.target_speed.fallback_flor", 'did you mean "floor"?'),
    ("fallback_floor = 5.5", "fallback_floor = 55.0", "fallback_floor",
     "channel.target_speed.fallback_floor", "outside the channel's range"),
    # numbers that contradict each other
    ("max_gap_ms = 100", "max_gap_ms = 15", "max_gap_ms", "guard.max_gap_ms", "at least 2 periods"),
    ("budget_ms = 2.0", "budget_ms = 20.0", "budget_ms", "controller.budget_ms", "control period"),
    ("rate_hz = 10\nmax_age_ms = 250", "rate_hz = 10\nmax_age_ms = 50", "max_age_ms = 50",
     "camera.front.max_age_ms", "shorter than the time between two frames"),
    ("deadline_ms = 25\nmax_age_ms = 250", "deadline_ms = 25\nmax_age_ms = 90", "max_age_ms = 90",
     "member.plain.max_age_ms", "shorter than the time between two frames"),
    ("deadline_ms = 25\n", "deadline_ms = 260\n", "deadline_ms = 260", "member.plain.deadline_ms",
     "older than max_age_ms"),
    ("deadline_ms = 25\n", "deadline_ms = -1\n", "deadline_ms = -1", "member.plain.deadline_ms",
     "must be at least"),
    ("rise = 1.5\nfall = 4.0\nstop", "rise = 0.0\nfall = 4.0\nstop", "rise = 0.0",
     "channel.target_speed.rise", "must be above 0"),
    ("rise = 1.5\nfall = 4.0\nstop", "rise = 1.5\nfall = -4.0\nstop", "fall = -4.0",
     "channel.target_speed.fall", "must be above 0"),
    ("rise = 1.5\nfall = 4.0\nstop", "rise = 1.5\nfall = nan\nstop", "fall = nan",
     "channel.target_speed.fall", "must be a finite number"),
    ("rise = 0.4\n", "rise = 0.001\n", "rise = 0.001", "channel.steering.rise",
     "would never move"),
    ("stop = 0.0\nmeasured", "stop = 50.0\nmeasured", "stop = 50.0",
     "channel.target_speed.stop", "SAFE_STOP could not reach it"),
    ("degraded = { range = [0.0, 22.2]", "degraded = { range = [0.0, 40.0]", "degraded",
     "channel.target_speed.degraded.range", "wider than the channel's own"),
    ("rise = 0.7", "rise = 7.0", "degraded", "channel.target_speed.degraded.rise", "wider"),
    ("degraded = { range = [0.0, 22.2]", "degraded = { range = [1.0, 22.2]", "degraded",
     "channel.target_speed.degraded.range", "SAFE_STOP could not reach it"),
    ("quorum = 2, frames", "quorum = 3, frames",
     "quorum = 3", "channel.target_speed.raise.quorum", "2 members may raise"),
    ('may_suggest = { target_speed = ["raise", "lower"] }',
     'may_suggest = { target_speed = ["lower"] }', "raise = { certainty = 0.98",
     "channel.target_speed.raise.quorum", "1 members may raise this channel (plain)"),
    ("certainty = 0.98", "certainty = 98",
     "certainty = 98", "channel.target_speed.raise.certainty", "at most 1"),
    ("quorum = 2, frames = 3", "quorum = 2.0, frames = 3",
     "quorum = 2.0", "channel.target_speed.raise.quorum", "whole number"),
    ("frames = 3", "frames = 5", "frames = 5", "channel.target_speed.raise.frames", "at most 4"),
    ("frames = 3", "frames = 0", "frames = 0", "channel.target_speed.raise.frames", "at least 1"),
    ("raise = { certainty = 0.5, quorum = 1", "raise = { certainty = 0.5, quorum = 1, frames = 2",
     "frames = 2", "channel.steering.raise.frames", 'only for kind = "label"'),
    ("max_age_ms = 250\nmay", "max_age_ms = 120\nmay", "max_age_ms = 120",
     "member.plain.max_age_ms", "held until the next answer is due"),
    # tables
    ('table_signal = "speed"\n', "", "[channel.target_speed]", "channel.target_speed.table_signal",
     "picks the row"),
    ("{ speed = 20.0,", "{ speed = 0.0,", "{ speed = 0.0, range = [0.0, 36.2], rise = 1.0",
     "channel.target_speed.table[1].speed", "rows must go up in speed"),
    ("{ speed = 20.0,", "{ speed = 90.0,", "{ speed = 90.0", "channel.target_speed.table[1].speed",
     "outside the range of [signal.speed]"),
    ("{ speed = 20.0,", "{ sped = 20.0,", "{ sped", "channel.target_speed.table[1].sped",
     'did you mean "speed"?'),
    ("rise = 1.0, fall = 3.0", "rise = 1.0, fall = 8.0", "fall = 8.0",
     "channel.target_speed.table[1].fall", "wider than the channel's own"),
    # kinds
    ("dispersion = 0.1\n", "", "[channel.steering]", "channel.steering.dispersion",
     "how far from the mid value"),
    ('measured = "speed"', 'measured = "speed"\ndispersion = 1.0', "dispersion = 1.0",
     "channel.target_speed.dispersion", 'only for kind = "value"'),
    ('kind = "value"\nunit', 'kind = "vlaue"\nunit', "vlaue", "channel.steering.kind",
     'did you mean "value"?'),
    ('kind = "value"\nunit = "rad"', 'kind = "value"\nunit = "deg"',
     'may_suggest = ["steering"]', "member.lane.may_suggest", "answers in rad"),
    # meanings
    ('"speed limit 30" = 8.33', '"speed limit 30" = 83.3', "83.3",
     'channel.target_speed.means."speed limit 30"', "outside the channel's range"),
    ('"speed limit 30" = 8.33', '"speed limit 31" = 8.33', "speed limit 31",
     'channel.target_speed.means."speed limit 31"', "no model has this class; did you mean"),
    ('"keep right" = "hold"', '"keep right" = "stay"', "stay",
     'channel.target_speed.means."keep right"', 'must be a number or "hold"'),
    # detectors
    ("above = 0.8\n", "", "[detector.dark]", "detector.dark", "give above, below or both"),
    ("above = 0.8\n", "above = 1.8\n", "above = 1.8", "detector.dark.above", "between 0 and 1"),
    ("below = -30.0", "below = 3.0", "below = 3.0", "detector.odd.below", "trip on everything"),
    ("above = 0.8\n", 'above = "calibratd"\n', "calibratd", "detector.dark.above",
     'must be a number or "calibrated"'),
    ("above = -2.0", 'above = "calibrated"', "above", "detector.odd.above",
     '[guard] names no calibration: write calibration = "calibration.toml" there'),
    ('kind = "image"\ncamera = "front"', 'kind = "image"\ncamera = "front"\nmember = "plain"',
     'member = "plain"', "detector.dark.member", "it watches a camera"),
    ("[cause.FROZEN_INPUT]", SELF + '"difference"\n[cause.FROZEN_INPUT]', "between =",
     "detector.self.between[1]", 'as the first is, and so the number never changes'),
    ("[cause.FROZEN_INPUT]", SELF + '"difference"\ndelay_ms = 0\nscale = 1\noffset = 3.0\n'
     "[cause.FROZEN_INPUT]", "between =", "detector.self.between[1]", "never changes"),
    ("[cause.FROZEN_INPUT]", SELF + '"difference"\nscale = "calibrated"\n[cause.FROZEN_INPUT]',
     "between =", "detector.self.between[1]", 'or take relation = "rate"'),
    ("[cause.FROZEN_INPUT]", SELF + '"sum"\nscale = -1.0\n[cause.FROZEN_INPUT]',
     "between =", "detector.self.between[1]", "never changes"),
    ("[cause.FROZEN_INPUT]", SELF + '"ratio"\nleast = 0.5\n[cause.FROZEN_INPUT]',
     "between =", "detector.self.between[1]", "never changes"),
    # causes
    ('severity = "FALLBACK"', 'severity = "SAFE_STOP"', 'clears = "itself"',
     "cause.FROZEN_INPUT.clears", "SAFE_STOP may not clear by"),
    ("on_ms = 60\noff_ms = 500", "on_ms = 600\noff_ms = 500", "off_ms = 500",
     "cause.FROZEN_INPUT.off_ms", "would chatter"),
    ("[cause.FROZEN_INPUT]", '[cause.STALE_MODEL]\nseverity = "DEGRADED"\n[cause.FROZEN_INPUT]',
     'severity = "DEGRADED"', "cause.STALE_MODEL.severity", 'at least "FALLBACK"'),
    ("[cause.FROZEN_INPUT]", '[cause.TIME_FAULT]\nseverity = "NOMINAL"\n[cause.FROZEN_INPUT]',
     'severity = "NOMINAL"', "cause.TIME_FAULT.severity", 'at least "FALLBACK"'),
    ("[cause.FROZEN_INPUT]", '[cause.FRAME_LOST]\nseverity = "DEGRADED"\n[cause.FROZEN_INPUT]',
     'severity = "DEGRADED"', "cause.FRAME_LOST.severity", 'at least "FALLBACK"'),
    ("[cause.FROZEN_INPUT]", '[cause.CONTROLLER_LOST]\nseverity = "FALLBACK"\n[cause.FROZEN_INPUT]',
     'severity = "FALLBACK"', "cause.CONTROLLER_LOST.severity", 'at least "SAFE_STOP"'),
    ("[cause.FROZEN_INPUT]", "[cause.CONTROLLER_LOST]\non_ms = 29\n[cause.FROZEN_INPUT]",
     "on_ms = 29", "cause.CONTROLLER_LOST.on_ms", "is 29; two late ticks would stop the vehicle"),
    ("[cause.FROZEN_INPUT]", "[cause.CONTROLLER_LOST]\non_ms = 101\n[cause.FROZEN_INPUT]",
     "on_ms = 101", "cause.CONTROLLER_LOST.on_ms", "is 101; for so long the models would command"
     " with no controller to fall back to: at most 100 ms (ten control periods"),
    ("[cause.FROZEN_INPUT]", "[cause.NOT_ARMED]\non_ms = 1\n[cause.FROZEN_INPUT]",
     "[cause.NOT_ARMED]", "cause.NOT_ARMED", "fixed"),
    ('[rearm]\nstandstill_signal = "speed"\nstandstill_below = 0.1\n', "", "# Every table", "rearm",
     "CONTROLLER_LOST, INPUT_INVALID clear by re-arm"),
    ("standstill_below = 0.1", "standstill_below = 99.0", "standstill_below",
     "rearm.standstill_below", "outside the signal's range"),
    # names that would mean two things
    ("[signal.heading]", "[signal.engaged]", "[signal.engaged]", "signal.engaged",
     "name it otherwise"),
    ("[member.compact]", "[member.front]", "[member.front]", "member.front",
     "also the name of a camera"),
    # models
    ('card = "plain.card.json"', 'card = "plan.card.json"', "plan.card.json", "member.plain.card",
     "cannot be read"),
    ('card = "plain.card.json"', "", "[member.plain]", "member.plain.card", "give card = FILE"),
    ('runtime = "external"\ncard = "plain.card.json"', 'runtime = "onnx"', "[member.plain]",
     "member.plain.model", "name the model file"),
    ('runtime = "external"\ncard = "plain.card.json"', 'model = "plain.onnx"\nruntime = "litert"',
     'runtime = "litert"', "member.plain.runtime", 'a .onnx file; use "onnx"'),
    ('card = "plain.card.json"', 'card = "plain.card.json"\nproviders = ["CPU"]', "providers",
     "member.plain.providers", 'only for runtime = "onnx"'),
    ('card = "plain.card.json"', 'card = "plain.card.json"\nprocess = "eyes"', "process",
     "member.plain.process", "an external member has no process here"),
    ('runtime = "external"\ncard = "plain.card.json"',
     'model = "plain.onnx"\nisolation = "none"\nprocess = "eyes"', "process",
     "member.plain.process", 'has isolation = "none"'),
    ('card = "lane.card.json"', 'card = "plain.card.json"', 'may_suggest = ["steering"]',
     "member.lane.may_suggest", "is a classifier, but [channel.steering] is of kind"),
    ("max_rail = 1", "max_rail = 99", "max_rail", "member.plain.max_rail", "has 5 scores"),
    ('may_suggest = ["steering"]', 'may_suggest = ["steering", "rudder"]\n' + RUDDER,
     '"rudder"]', "member.lane.may_suggest",
     "one value, which cannot be meant for [channel.steering] and [channel.rudder]"),
    ("max_gap_ms = 100", "max_gap_ms = 90000", "max_gap_ms", "guard.max_gap_ms",
     "must be at most 60000 ms"),
]  # fmt: skip


@pytest.mark.parametrize("row", REFUSED, ids=[f"{r[3]}-{r[4][:24]}" for r in REFUSED])
def test_f26_refused_with_line_key_and_advice(edited: Edit, row: tuple[str, ...]) -> None:
    old, new, at, path, phrase = row
    file = edited(old, new)
    with pytest.raises(ConfigError) as refused:
        config.load(file)

    named = [line for line in str(refused.value).splitlines() if f": {path}: " in line]
    assert len(named) == 1, f"{path} not named in:\n{refused.value}"
    where, text = named[0].split(f": {path}: ", 1)
    assert phrase in text
    name, _, line = where.rpartition(":")
    assert name == str(file)
    assert at in file.read_text().splitlines()[int(line) - 1]


@pytest.mark.parametrize(
    "relation",
    ['"difference"\nscale = 0.0', '"difference"\ndelay_ms = 100', '"sum"', '"product"'],
)
def test_what_can_be_said_of_one_signal_alone_is_taken(edited: Edit, relation: str) -> None:
    file = edited("[cause.FROZEN_INPUT]", f"{SELF}{relation}\n[cause.FROZEN_INPUT]")
    assert config.load(file).detectors["self"].between == ("speed", "signal.speed")


@pytest.mark.parametrize(
    ("period_ms", "on_ms", "most_ms"),
    [(0.1, 30, 30), (3, 30, 30), (4, 40, 40), (50, 500, 500), (0.1, 31, 30), (4, 41, 40)],
)
def test_the_loss_of_the_rules_waits_for_a_busy_machine_and_no_longer(
    edited: Edit, period_ms: float, on_ms: float, most_ms: float
) -> None:
    file = edited("period_ms = 10", f"period_ms = {period_ms}")
    text = file.read_text().replace("max_gap_ms = 100", "max_gap_ms = 1000")
    file.write_text(f"{text}\n[cause.CONTROLLER_LOST]\non_ms = {on_ms}\n")
    said = ""
    try:
        config.load(file)
    except ConfigError as error:  # other keys do not like every period
        said = str(error)
    assert (f"CONTROLLER_LOST.on_ms: is {on_ms}" in said) == (on_ms > most_ms)
    assert (f"at most {most_ms} ms" in said) == (on_ms > most_ms)


def test_all_mistakes_of_a_file_are_reported_at_once(folder: Path) -> None:
    file = folder / "guard.toml"
    text = file.read_text()
    for old, new in (
        ("period_ms = 10", "period_ms = 0"),
        ("above = 0.8", "abov = 0.8"),
        ("on_ms = 60", "on_ms = nan"),
        ('[signal.heading]\nunit = "rad"', '[signal.heading]\nunit = "rads"'),
    ):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        config.load(file)

    lines = str(refused.value).splitlines()
    keys = [line.split(": ")[1] for line in lines]
    assert keys == ["guard.period_ms", "signal.heading.unit", "detector.dark.abov",
                    "cause.FROZEN_INPUT.on_ms"]  # fmt: skip
    numbers = [int(line.split(":")[1]) for line in lines]
    assert numbers == sorted(numbers)


def test_a_broken_table_is_not_reported_again_by_those_that_refer_to_it(edited: Edit) -> None:
    file = edited('[signal.speed]\nunit = "m/s"', '[signal.speed]\nunit = "knots"')
    with pytest.raises(ConfigError) as refused:
        config.load(file)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "line", "phrase"),
    [
        ("[guard]\nname = \n", 2, "not valid TOML"),
        ("[guard]\nname = 1\nname = 2\n", 3, "each key may stand once"),
        ("[a]\n[b]\n[a]\n", 3, "each key may stand once"),
        ('[guard]\nname = "x', 2, "not valid TOML"),
        ("[guard]\nx = " + "9" * 5000, 2, "number too long"),
        ("x = " + "[" * 5000, 1, "not"),
        ("", 1, "guard: missing"),
    ],
)  # fmt: skip
def test_what_is_not_toml_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int, phrase: str
) -> None:
    file = tmp_path / "guard.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(f"{file}:{line}: ")) as refused:
        config.load(file)
    assert phrase in str(refused.value)


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "guard.toml"
    with pytest.raises(ConfigError, match="no such file"):
        config.load(file)
    with pytest.raises(ConfigError, match="is a directory"):
        config.load(tmp_path)
    file.write_bytes(b"[guard]\nname = '\xff'\n")
    with pytest.raises(ConfigError, match=r"guard.toml:2: not UTF-8"):
        config.load(file)
    file.write_bytes(b"\x08\x00model\xff")  # an ONNX
    with pytest.raises(ConfigError, match=r"guard.toml: is no text file, and so no TOML"):
        config.load(file)
    file.write_bytes(b"#" * (2 << 20))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        config.load(file)


def test_classes_of_all_members_must_be_the_same(folder: Path) -> None:
    card = json.loads((folder / "compact.card.json").read_text())
    card["labels"][0], card["labels"][1] = card["labels"][1], card["labels"][0]
    (folder / "compact.card.json").write_text(json.dumps(card))
    with pytest.raises(
        ConfigError, match=r"member\.compact\.card: .*other labels than \[member\.plain\]"
    ):
        config.load(folder / "guard.toml")


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("plain", "temperature", 1e-300),
        ("plain", "temperature", 1e30),
        ("plain", "scale", 1e300),
        ("plain", "scale", 5e-324),
        ("plain", "min_distinct", 4),  # the kernel counts to 3
        ("lane", "min_distinct", 2),
        ("lane", "value_range", [-1e9, 1.0]),
    ],
)
def test_f06_a_card_number_that_the_core_cannot_hold_is_refused(
    folder: Path, name: str, key: str, value: float
) -> None:
    file = folder / f"{name}.card.json"
    card = json.loads(file.read_text())
    (card["outputs"][0] if key == "scale" else card)[key] = value
    file.write_text(json.dumps(card))
    with pytest.raises(ConfigError, match=rf"member\.{name}\.card: the card's .*{key} is"):
        config.load(folder / "guard.toml")


def test_a_class_that_means_something_must_be_unique(folder: Path) -> None:
    for name in ("plain", "compact"):
        card = json.loads((folder / f"{name}.card.json").read_text())
        card["labels"][4] = "stop"
        (folder / f"{name}.card.json").write_text(json.dumps(card))
    with pytest.raises(ConfigError, match=r'the label "stop" twice'):
        config.load(folder / "guard.toml")


def test_another_model_file_than_the_cards_is_refused(edited: Edit, folder: Path) -> None:
    file = edited('runtime = "external"\ncard = "plain.card.json"', 'model = "plain.onnx"')
    (folder / "plain.onnx").write_bytes(b"swapped")
    config.load(file)
    with pytest.raises(ConfigError, match=r"member\.plain\.model: .*is not the file that its card"):
        config.load(file, files=True)
    (folder / "plain.onnx").unlink()
    with pytest.raises(ConfigError, match=r"member\.plain\.model: .*no such file"):
        config.load(file, files=True)


def test_golden_vectors_that_are_missing_or_altered_are_refused(edited: Edit, folder: Path) -> None:
    file = edited('runtime = "external"\ncard = "plain.card.json"', 'model = "plain.onnx"')
    model, golden = b"a model", b"its answers"
    (folder / "plain.onnx").write_bytes(model)
    card = json.loads((folder / "plain.card.json").read_text())
    card["sha256"] = hashlib.sha256(model).hexdigest()
    card["golden"] = {"file": "plain.golden.npz", "sha256": hashlib.sha256(golden).hexdigest()}
    (folder / "plain.card.json").write_text(json.dumps(card))
    with pytest.raises(ConfigError, match=r"member\.plain\.model: .*golden\.npz: no such file"):
        config.load(file, files=True)
    (folder / "plain.golden.npz").write_bytes(golden + b"!")
    with pytest.raises(ConfigError, match=r"golden\.npz: is not the file that its card"):
        config.load(file, files=True)
    (folder / "plain.golden.npz").write_bytes(golden)
    config.load(file, files=True)


def test_a_model_that_takes_no_picture_runs_elsewhere(edited: Edit, folder: Path) -> None:
    file = folder / "lane.card.json"
    card = json.loads(file.read_text())
    card["input"] |= {"layout": "VECTOR", "size": [9]}
    file.write_text(json.dumps(card))
    config.load(folder / "guard.toml")  # external
    inside = edited('runtime = "external"\ncard = "lane.card.json"', 'model = "lane.onnx"')
    with pytest.raises(ConfigError, match=r'member\.lane\.camera: .* runtime = "external" here'):
        config.load(inside)


def test_a_default_that_does_not_fit_is_said_to_be_one(edited: Edit) -> None:
    file = edited("period_ms = 10", "period_ms = 20")
    with pytest.raises(ConfigError, match=r"LOST\.on_ms: is 30 by default; .* periods \(60 ms\)"):
        config.load(file)
    file.write_text(file.read_text() + "\n[cause.CONTROLLER_LOST]\non_ms = 40\noff_ms = 1000\n")
    with pytest.raises(ConfigError, match=r"LOST\.on_ms: is 40; two late ticks"):
        config.load(file)
