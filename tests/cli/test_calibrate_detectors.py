# SPDX-License-Identifier: Apache-2.0
"""`edgeguard calibrate` for associations, embeddings and the risk: from logs and frames to a guard
that loads with them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from edgeguard import config
from edgeguard.cli.main import main
from edgeguard.errors import ConfigError
from tests.cli.test_calibrate import TOML, answers, pictures

LINE = """
[signal.wheel]
unit = "km/h"
range = [0.0, 250.0]

[detector.wheel]
kind = "association"
between = ["wheel", "speed"]
relation = "difference"
scale = "calibrated"
offset = "calibrated"
above = "calibrated"
below = "calibrated"
max_false_trips_per_hour = 60
"""
EMBEDDING = """
[detector.strange]
kind = "embedding"
member = "plain"
feature = "nearest"
above = "calibrated"
max_false_trips_per_hour = 200
"""
BY_ANSWER = """
[detector.outside]
kind = "embedding"
member = "plain"
feature = "boxes"
above = "calibrated"
max_false_trips_per_hour = 200

[detector.wavers]
kind = "history"
member = "plain"
feature = "changes"
above = "calibrated"
max_false_trips_per_hour = 200

[detector.again]
kind = "history"
member = "plain"
feature = "echoes"
above = 30
"""
RISK = """
[detector.risk]
kind = "risk"
max_false_trips_per_hour = 2
"""


def run(*argv):
    with pytest.raises(SystemExit) as done:
        main(["calibrate", *map(str, argv)])
    return done.value.code


def certain(toml):
    """Without a certainty to calibrate."""
    return toml.replace('certainty = "calibrated"', "certainty = 0.9")


def log(path, seconds=400, seed=0):
    """A drive at about 10 Hz: speed in m/s, wheel in km/h."""
    rng = np.random.default_rng(seed)
    t = np.arange(0, seconds, 0.1)
    speed = 15 + 10 * np.sin(t / 20)
    wheel = 3.6 * speed + rng.normal(0, 0.2, len(t))
    rows = "".join(f"{a:.2f},{b:.4f},{c:.4f}\n" for a, b, c in zip(t, speed, wheel, strict=True))
    path.write_text("t,speed,wheel\n" + rows)
    return path


def test_an_association_is_fitted_on_logs_alone(tmp_path, capfd):
    head = TOML[: TOML.index("[detector.dark]")].replace(
        'certainty = "calibrated"', "certainty = 0.9"
    )
    (tmp_path / "guard.toml").write_text(head + LINE)
    guard = tmp_path / "guard.toml"
    assert run(guard) == 2
    assert "give --signals" in capfd.readouterr().err
    assert run(guard, "--signals", log(tmp_path / "drive.csv")) == 0
    shown = capfd.readouterr().out
    assert "wheel: scale 3.6" in shown
    cfg = config.load(guard)
    made = cfg.detectors["wheel"]
    assert made.scale == pytest.approx(3.6, abs=0.02) and made.offset == pytest.approx(0, abs=0.3)
    assert -2.0 < made.below < 0 < made.above < 2.0
    row = config.policy_dict(cfg, config.load_cards(cfg))["detectors"][0]
    assert row["association"]["scale"] == made.scale
    assert run(guard, "--signals", log(tmp_path / "short.csv", 60)) == 2
    assert "5 stretches of 10 s; give at least 8" in capfd.readouterr().err
    assert run(guard, "--signals", tmp_path / "drive.csv", "--max-false-trips-per-hour", "1") == 2
    assert "detector.wheel: 1 false trips per hour is less than 29" in capfd.readouterr().err


@pytest.mark.parametrize("cell", ["", "250.5"], ids=["empty", "out of range"])
def test_a_log_whose_signals_the_guard_would_refuse_promises_nothing(tmp_path, capfd, cell):
    (tmp_path / "guard.toml").write_text(certain(TOML[: TOML.index("[detector.dark]")]) + LINE)
    rows = log(tmp_path / "drive.csv").read_text().splitlines()
    for start in range(51, len(rows), 100):  # a second of every ten
        for i in range(start, start + 10):
            rows[i] = rows[i].rpartition(",")[0] + "," + cell
    (tmp_path / "drive.csv").write_text("\n".join(rows) + "\n")
    assert run(tmp_path / "guard.toml", "--signals", tmp_path / "drive.csv") == 2
    shown = " ".join(capfd.readouterr().err.split())
    assert "detector.wheel: the cause fires on unreadable numbers alone, 36" in shown


def test_a_drive_counts_once(tmp_path, capfd):
    guard, drive = tmp_path / "guard.toml", log(tmp_path / "drive.csv")
    guard.write_text(certain(TOML[: TOML.index("[detector.dark]")]) + LINE)
    (tmp_path / "same.csv").write_bytes(drive.read_bytes())
    for again in (drive, tmp_path / "same.csv"):
        assert run(guard, "--signals", drive, "--signals", again) == 2
        assert f"{again}: holds the same drive as {drive}" in capfd.readouterr().err
    assert not (tmp_path / "calibration.toml").exists()
    other = log(tmp_path / "other.csv", seed=1)
    assert run(guard, "--signals", drive, "--signals", other) == 0
    assert "n_tracks = 59" in (tmp_path / "calibration.toml").read_text()


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_a_log_is_not_written_over(tmp_path, capfd, option):
    guard, drive = tmp_path / "guard.toml", log(tmp_path / "drive.csv")
    guard.write_text(certain(TOML[: TOML.index("[detector.dark]")]) + LINE)
    before = drive.read_bytes()
    assert run(guard, "--signals", drive, option, drive) == 2
    assert f"{option} {drive}: is read here, and would be lost" in capfd.readouterr().err
    assert drive.read_bytes() == before
    assert not (tmp_path / "calibration.toml").exists()


def test_a_log_in_which_nothing_changes_gives_no_limit(tmp_path, capfd):
    (tmp_path / "guard.toml").write_text(certain(TOML[: TOML.index("[detector.dark]")]) + LINE)
    rows = "".join(f"{t / 10:.1f},0.0,0.0\n" for t in range(4000))
    (tmp_path / "parked.csv").write_text("t,speed,wheel\n" + rows)
    assert run(tmp_path / "guard.toml", "--signals", tmp_path / "parked.csv") == 2
    shown = " ".join(capfd.readouterr().err.split())
    assert 'detector.wheel: "wheel" is 0 all along, which shows nothing' in shown
    assert not (tmp_path / "calibration.toml").exists()


def test_signals_alone_leave_what_was_fitted_on_frames(tmp_path, capfd):
    head = certain(TOML[: TOML.index("[detector.odd]")])
    head = head.replace('below = "calibrated"\nmax_false_trips_per_hour = 200', "below = 5.0")
    slow = head.replace("rate_hz = 10", "rate_hz = 2.5")  # tracks of 8 frames last 3.2 s
    slow = slow.replace("max_age_ms = 250", "max_age_ms = 500")
    guard, file = tmp_path / "guard.toml", tmp_path / "calibration.toml"
    guard.write_text(slow + LINE + RISK)
    x, track = pictures(tracks=60)
    np.savez(tmp_path / "data.npz", x=x, y=answers(x), track=track)
    logs = [log(tmp_path / f"{seed}.csv", seed=seed) for seed in (1, 2)]
    assert run(guard, "--data", tmp_path / "data.npz", "--signals", logs[0], "--no-plots") == 0
    before = config.load(guard)
    assert set(before.temperatures) == {"plain"}
    assert run(guard, "--signals", logs[1]) == 0
    after = config.load(guard)
    assert after.temperatures == before.temperatures
    dark = [cfg.fits["dark", "risk"]["blocks"] for cfg in (before, after)]
    assert len(dark[0]) == 60 and np.array_equal(*dark)
    assert after.detectors["wheel"].scale != before.detectors["wheel"].scale
    assert "tracks = 60" in file.read_text()
    text = guard.read_text()
    for old, new, named in (
        ("below = 5.0", "below = 4.0", r"dark\.below: is not the limit that the risk was"),
        ("below = 5.0", "below = 5.0\nabove = 250.0", r"dark\.above: is not the limit that"),
        ('feature = "mean"', 'feature = "contrast"', r'dark\.feature: is "contrast", and was'),
        ('"wheel", "speed"', '"speed", "wheel"', r'wheel\.between: is \["speed", "wheel'),
        ('relation = "difference"', 'relation = "sum"', r'wheel\.relation: is "sum", and was'),
    ):
        guard.write_text(text.replace(old, new))
        with pytest.raises(ConfigError, match=named + ".*run `edgeguard calibrate` again"):
            config.load(guard)
    guard.write_text(text)
    written = file.read_text()
    file.write_text(re.sub(r"plain = [\d.]+", "plain = 3.0", written))
    with pytest.raises(ConfigError, match=r"contents\.sha256: .*it was changed after"):
        config.load(guard)
    assert run(guard, "--signals", logs[1]) == 2  # or it would be stated as if it had been found
    assert "it was changed after it was written; give --data" in capfd.readouterr().err
    file.write_text(written)
    for old, new in ((r'(\[model.plain\]\nsha256 = )"\w+"', r'\1"00"'), ('"RGB"', '"BGR"')):
        file.write_text(re.sub(old, new, written))
        assert run(guard, "--signals", logs[1]) == 2
        said = "other model files or cards than guard.toml names now; give --data"
        assert said in capfd.readouterr().err
    assert "tracks = 60" in file.read_text()


@pytest.mark.parametrize(
    ("old", "table"),
    [
        ("data = 3", "data"),
        ("model = 3\n[data]\ntracks = 3", "model"),
        ("model.plain = 3\n[data]\ntracks = 3", "model"),
        ("thresholds.speed = 3\n[data]\ntracks = 3", "thresholds"),
        ("detector = []\n[data]\ntracks = 3", "detector"),
        ('[data]\ntracks = 3\n[arrays]\nfile = "x.npz"', "arrays"),
    ],
)
def test_a_file_of_another_shape_is_named_and_stays(tmp_path, capfd, old, table):
    (tmp_path / "guard.toml").write_text(certain(TOML[: TOML.index("[detector.dark]")]) + LINE)
    file, drive = tmp_path / "calibration.toml", log(tmp_path / "drive.csv")
    text = f'{old}\n[contents]\nsha256 = "{"0" * 64}"\n'
    file.write_text(text)
    assert run(tmp_path / "guard.toml", "--signals", drive) == 2
    shown = capfd.readouterr().err
    assert f"{file}: {table}: is not as `edgeguard calibrate` writes it; give --data" in shown
    assert file.read_text() == text


def test_embeddings_and_blocks_come_along_in_one_hashed_file(tmp_path, capfd):
    head = TOML[: TOML.index("[detector.odd]")].replace(
        'certainty = "calibrated"', "certainty = 0.9"
    )
    guard = tmp_path / "guard.toml"
    slow = head.replace("rate_hz = 10", "rate_hz = 2.5")  # tracks of 8 frames last 3.2 s
    slow = slow.replace("max_age_ms = 250", "max_age_ms = 500")
    guard.write_text(slow + EMBEDDING + RISK)
    x, track = pictures(tracks=60)
    np.savez(tmp_path / "data.npz", x=x, y=answers(x), track=track)
    assert run(guard, "--data", tmp_path / "data.npz") == 0
    shown = capfd.readouterr().out
    assert "risk: false alarms per hour at level 2: <= 2 promised, " in shown
    cfg = config.load(guard)
    assert cfg.fits["plain", "nearest"]["centre"].shape == (96,)
    assert len(cfg.fits["strange", "risk"]["blocks"]) == 45  # one block of 3 s in each held track
    assert len(cfg.fits["dark", "risk"]["blocks"]) == 60
    file = tmp_path / "calibration.npz"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        ConfigError, match=r"calibration\.toml:\d+: arrays\.file: .*is not the file"
    ):
        config.load(guard)


def test_boxes_and_changes_are_calibrated_as_they_are_counted(tmp_path):
    head = TOML[: TOML.index("[detector.odd]")].replace(
        'certainty = "calibrated"', "certainty = 0.9"
    )
    guard = tmp_path / "guard.toml"
    slow = head.replace("rate_hz = 10", "rate_hz = 2.5")  # tracks of 8 frames last 3.2 s
    slow = slow.replace("max_age_ms = 250", "max_age_ms = 500")
    guard.write_text(slow + BY_ANSWER + RISK)
    three, _ = pictures(tracks=3)  # which come again, so that each half of the tracks has all
    noise = np.random.default_rng(0).integers(-1, 2, (480, 32, 32, 3))
    x = np.clip(np.tile(three, (20, 1, 1, 1)) + noise, 0, 255).astype(np.uint8)
    said = answers(x)
    np.savez(tmp_path / "data.npz", x=x, y=said, track=np.arange(60).repeat(8))
    assert run(guard, "--data", tmp_path / "data.npz") == 0
    cfg = config.load(guard)
    arrays = cfg.fits["plain", "boxes"]
    assert arrays["low"].shape == arrays["high"].shape == (said.max() + 1, 96)
    assert len(cfg.fits["wavers", "risk"]["blocks"]) == 45
    assert ("again", "risk") not in cfg.fits  # what comes again is no matter of tracks
    # a track begins with a change; more than the three frames of a second cannot be
    assert cfg.detectors["wavers"].above in (1.0, 2.0, 3.0)
    assert 0.0 <= cfg.detectors["outside"].above < 100.0
    rows = config.policy_dict(cfg, config.load_cards(cfg))["detectors"]
    assert [row["source"] for row in rows if row["name"] in ("outside", "wavers")] == [4, 4]


def test_tracks_shorter_than_a_block_cannot_calibrate_the_risk(tmp_path, capfd):
    head = TOML[: TOML.index("[detector.odd]")].replace(
        'certainty = "calibrated"', "certainty = 0.9"
    )
    (tmp_path / "guard.toml").write_text(head + RISK)
    x, track = pictures()
    np.savez(tmp_path / "data.npz", x=x, y=answers(x), track=track)
    assert run(tmp_path / "guard.toml", "--data", tmp_path / "data.npz") == 2
    assert "its tracks are shorter than a block of the risk (3 s)" in capfd.readouterr().err
