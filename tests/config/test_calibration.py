# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeguard import _core, config
from edgeguard.config.calibration import edited, own_sha256
from edgeguard.config.toml import parse
from edgeguard.errors import ConfigError

Edit = Callable[[str, str], Path]


def card(file: Path, old: str, new: str) -> None:
    path = file.with_name("plain.card.json")
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


@pytest.fixture
def calibrated(edited: Edit) -> Path:
    edited('name = "sign-speed"', 'name = "sign-speed"\ncalibration = "calibration.toml"')
    edited("raise = { certainty = 0.98,", 'raise = { certainty = "calibrated",')
    return edited("above = -2.0", 'above = "calibrated"')


def change(file: Path, old: str, new: str, sealed: bool = True) -> None:
    """Sealed: as if it had been written so."""
    path = file.with_name("calibration.toml")
    text = path.read_text()
    assert old in text
    text = text.replace(old, new, 1)
    if sealed and "[temperature]" in text:
        before, there, after = text.rpartition('[contents]\nsha256 = "')
        text = before + there + own_sha256(parse(text, path)) + after[64:]
    path.write_text(text)


def test_calibrated_numbers_take_the_place_of_the_word(calibrated: Path) -> None:
    cfg = config.load(calibrated)
    assert cfg.channels["target_speed"].raise_.certainty == 0.97
    assert cfg.detectors["odd"].above == -1.5
    policy = config.policy_dict(cfg, config.load_cards(cfg))
    assert policy["members"][0]["scores"]["temperature"] == 1.25
    assert policy["members"][1]["scores"]["temperature"] == 1.0
    _core.Policy(policy)


def test_before_calibration_the_word_stays_and_gives_no_policy(calibrated: Path) -> None:
    calibrated.with_name("calibration.toml").unlink()
    cfg = config.load(calibrated, calibrated=False)
    assert cfg.detectors["odd"].above == "calibrated"
    with pytest.raises(ConfigError, match=r"channel\.target_speed\.raise\.certainty: still says"):
        config.policy_dict(cfg, config.load_cards(cfg))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("a" * 64, "d" * 64, r"calibration\.toml:3: model\.plain\.sha256: was made with another"),
        (f'[model.plain]\nsha256 = "{"a" * 64}"', "", r"\.toml:\d+: model\.plain: missing"),
        ("certainty = 0.97", "certainty = nan",
         r"calibration\.toml:21: thresholds\.target_speed\.raise\.certainty: is nan"),
        ("certainty = 0.97", "certainty = 1.5", r"raise\.certainty: is 1\.5; must be at most 1"),
        ("certainty = 0.97", "", r"guard\.toml:\d+: channel\.\w+\.raise\.certainty: .*has no"),
        ("above = -1.5", "below = -1.5", r"detector\.odd\.above: is \"calibrated\", but .* has no"),
        ("above = -1.5", "above = -99.0",
         r"guard\.toml:\d+: detector\.odd\.below: .*trip on everything"),
        ("plain = 1.25", "plain = 0.0", r"calibration\.toml:\d+: temperature\.plain: is 0"),
        ("[temperature]", '[arrays]\nfile = 3\n[temperature]',
         r"calibration\.toml:\d+: arrays: want a table with the texts file and sha256"),
        ("[temperature]", "[temperature",
         r"guard\.calibration: .*calibration\.toml:\d+: not valid TOML"),
    ],
)  # fmt: skip
def test_a_calibration_that_does_not_fit_is_refused(
    calibrated: Path, old: str, new: str, named: str
) -> None:
    change(calibrated, old, new)
    with pytest.raises(ConfigError, match=named):
        config.load(calibrated)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('feature = "energy"', 'feature = "entropy"',
         r'guard\.toml:\d+: detector\.odd\.feature: is "entropy", and was "energy" when .* again'),
        ('member = "plain"', 'member = "compact"', r'detector\.odd\.member: is "compact", and was'),
        ('kind = "score"\nmember = "plain"\nfeature = "energy"',
         'kind = "image"\ncamera = "front"\nfeature = "mean"',
         r'detector\.odd\.member: is not given, and was "plain" when'),
    ],
)  # fmt: skip
def test_a_limit_of_another_number_is_refused(
    calibrated: Path, edited: Edit, old: str, new: str, named: str
) -> None:
    edited(old, new)
    with pytest.raises(ConfigError, match=named):
        config.load(calibrated)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("quorum = 2, frames", "quorum = 1, frames",
         r"guard\.toml:\d+: channel\.target_speed\.raise\.quorum: is 1, and was 2 when .* again"),
        ('may_suggest = ["target_speed"]', 'may_suggest = { target_speed = ["lower"] }',
         r"raise\.certainty: .* that may raise it are compact, and were compact, plain when .*"),
        ('may_suggest = ["steering"]',
         'may_suggest = { steering = ["raise"], target_speed = ["lower"] }',
         r"raise\.certainty: .* heard on it are compact, lane, plain, and were compact, plain"),
    ],
)  # fmt: skip
def test_a_certainty_of_another_vote_is_refused(
    calibrated: Path, edited: Edit, old: str, new: str, named: str
) -> None:
    edited(old, new)
    with pytest.raises(ConfigError, match=named):
        config.load(calibrated)


def test_what_a_certainty_does_not_stand_on_is_free(calibrated: Path, edited: Edit) -> None:
    edited("quorum = 2, frames = 3", "quorum = 2, frames = 2")
    edited("lower = { certainty = 0.80, quorum = 1 }", "lower = { certainty = 0.7, quorum = 2 }")
    card(calibrated, '"task"', '"temperature": 2.0,\n "task"')  # the calibration has its own
    card(calibrated, '"layout": "CHW"', '"layout": "CHW", "mean": [0, 0, 0]')  # as it was
    assert config.load(calibrated).channels["target_speed"].raise_.certainty == 0.97


def test_a_certainty_of_nobody_knows_which_vote_is_refused(calibrated: Path) -> None:
    change(calibrated, "quorum = 2\n", "")
    with pytest.raises(ConfigError, match=r"raise\.certainty: .*say for which quorum and members"):
        config.load(calibrated)


CHW = '"layout": "CHW"'


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (CHW, f'{CHW}, "colour": "BGR"',
         r'\.toml:4: model\.plain\.input: colour of the card is "BGR", and was "RGB" when .*'),
        (CHW, f'{CHW}, "mean": [0.5, 0.5, 0.5]',
         r"input: mean of the card is \[0\.5, 0\.5, 0\.5\], and was \[0\.0, 0\.0, 0\.0\]"),
        (CHW, f'{CHW}, "fit": "crop"', r'input: fit of the card is "crop", and was "stretch"'),
        (CHW, '"layout": "HWC"', r'input: layout of the card is "HWC", and was "CHW"'),
        ('"logits"', '"probabilities"', r"scores: kind of the card is .*, and was .logits"),
        ('"speed limit 20",\n  "speed limit 30"', '"speed limit 30",\n  "speed limit 20"',
         r"model\.plain\.labels_sha256: the card has other labels, or another order of them"),
    ],
)  # fmt: skip
def test_a_calibration_of_a_model_that_was_fed_or_read_otherwise_is_refused(
    calibrated: Path, old: str, new: str, named: str
) -> None:
    card(calibrated, old, new)
    with pytest.raises(ConfigError, match=named):
        config.load(calibrated)


@pytest.mark.parametrize(
    ("new", "named"),
    [
        ("", r"calibration\.toml:2: model\.plain: does not say how plain\.onnx was fed"),
        ("input = 3", r'model\.plain\.input: colour of the card is "RGB", and was not given'),
    ],
)
def test_a_calibration_that_does_not_say_how_a_model_was_fed_is_refused(
    calibrated: Path, new: str, named: str
) -> None:
    text = calibrated.with_name("calibration.toml").read_text()
    change(calibrated, next(s for s in text.splitlines() if s.startswith("input = ")), new)
    with pytest.raises(ConfigError, match=named):
        config.load(calibrated)


def test_a_limit_of_nobody_knows_which_number_is_refused(calibrated: Path) -> None:
    text = calibrated.with_name("calibration.toml").read_text()
    definition = text[text.index("[detector.odd.definition]") : text.index("[temperature]")]
    change(calibrated, definition, "")
    with pytest.raises(ConfigError, match=r"detector\.odd: .*does not say what it measured"):
        config.load(calibrated)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("above = -1.5", "above = 99.0"),
        ("n_tracks = 200\nalpha = 0.05\n\n[detector.odd.definition]",
         "n_tracks = 9000\nalpha = 0.05\n\n[detector.odd.definition]"),
        ("plain = 1.25", "plain = 1.5"),
        ("certainty = 0.97", "certainty = 0.5"),
    ],
)  # fmt: skip
def test_a_calibration_that_was_edited_is_refused(calibrated: Path, old: str, new: str) -> None:
    change(calibrated, old, new, sealed=False)
    with pytest.raises(
        ConfigError, match=r"calibration\.toml:42: contents\.sha256: .*changed after .* again"
    ):
        config.load(calibrated)


def test_numbers_that_nothing_vouches_for_are_refused(calibrated: Path) -> None:
    text = calibrated.with_name("calibration.toml").read_text()
    change(calibrated, text[text.index("[contents]") :], "", sealed=False)
    with pytest.raises(
        ConfigError, match=r"calibration\.toml:1: contents\.sha256: missing; .*again"
    ):
        config.load(calibrated)


def test_comments_and_layout_of_a_calibration_are_free(calibrated: Path) -> None:
    change(calibrated, "[temperature]\n", "# of the summer\n\n[temperature]\r\n", sealed=False)
    assert config.load(calibrated).temperatures == {"plain": 1.25}


def test_what_a_member_can_say_is_asked_at_its_calibrated_temperature(calibrated: Path) -> None:
    card(calibrated, '"scale": 0.1', '"scale": 0.01')
    change(calibrated, "scale = 0.1,", "scale = 0.01,")
    with pytest.raises(ConfigError, match=r"raise\.certainty: is 0\.97, but plain says 0\.6578 at"):
        config.load(calibrated)
    change(calibrated, "plain = 1.25", "plain = 0.3")
    config.load(calibrated)


def test_a_missing_calibration_file_is_refused(calibrated: Path) -> None:
    calibrated.with_name("calibration.toml").unlink()
    with pytest.raises(ConfigError, match=r"guard\.calibration: .*no such file"):
        config.load(calibrated)


def test_a_number_without_end_is_a_sentence() -> None:
    assert "cannot be computed" in str(edited({"temperature": {"plain": 16**4000}}))
