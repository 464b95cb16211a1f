# SPDX-License-Identifier: Apache-2.0
"""`edgeguard calibrate` from frames to a guard.toml that loads with the numbers it wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from edgeguard import config
from edgeguard.cli.main import main
from edgeguard.errors import ConfigError
from edgeguard.zoo import models_dir
from tests.cli.test_written import room

FRAMES = 8
TOML = """\
[guard]
name = "test"
period_ms = 10
calibration = "calibration.toml"

[camera.front]
rate_hz = 10
max_age_ms = 250

[signal.speed]
unit = "m/s"
range = [0.0, 70.0]

[rearm]
standstill_signal = "speed"
standstill_below = 0.1

[member.plain]
model = "package:gtsrb/plain"
runtime = "onnx"
camera = "front"
deadline_ms = 50
max_age_ms = 250
may_suggest = ["target_speed"]

[channel.target_speed]
unit = "m/s"
range = [0.0, 36.2]
rise = 1.5
fall = 4.0
stop = 0.0
fallback = "slow_and_hold"
raise = { certainty = "calibrated", quorum = 1 }
lower = { certainty = 0.6, quorum = 1 }

[detector.dark]
kind = "image"
camera = "front"
feature = "mean"
below = "calibrated"
max_false_trips_per_hour = 200
cause = "IMAGE_UNHEALTHY"

[detector.odd]
kind = "score"
member = "plain"
feature = "energy"
above = "calibrated"
below = "calibrated"
max_false_trips_per_hour = 500
cause = "OUT_OF_DISTRIBUTION"
"""


def pictures(tracks=40, seed=0):
    """Blurred noise of various brightness: uint8 [N, 32, 32, 3], and the track of each frame."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (tracks * FRAMES, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
    bright = rng.uniform(0.3, 1.0, (tracks, 1, 1, 1)).repeat(FRAMES, 0)
    return (coarse * bright).astype(np.uint8), np.arange(tracks).repeat(FRAMES)


def answers(x):
    """The top class of the shipped plain model, run by onnxruntime alone: [N]."""
    onnxruntime = pytest.importorskip("onnxruntime")
    model = str(models_dir("gtsrb") / "plain.onnx")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    planar = x.transpose(0, 3, 1, 2)
    ready = (planar.astype(np.int16) - 128).astype(np.int8)  # scale 1/255, zero point -128
    score = session.get_outputs()[0].name
    return np.array([session.run([score], {entry.name: p[None]})[0].argmax() for p in ready])


@pytest.fixture
def place(tmp_path):
    (tmp_path / "guard.toml").write_text(TOML)
    return tmp_path


def save(place, **arrays):
    np.savez(place / "data.npz", **arrays)


def calibrate(place, *more):
    """Run the command; returns its exit code."""
    argv = ["calibrate", str(place / "guard.toml"), "--data", str(place / "data.npz"), *more]
    with pytest.raises(SystemExit) as done:
        main(argv)
    return done.value.code


def test_from_frames_to_a_guard_that_uses_the_numbers(place, capfd):
    x, track = pictures()
    save(place, x=x, y=answers(x), track=track)
    figures = place / "figures.json"
    assert calibrate(place, "--target-accuracy", "0.9", "--json", str(figures)) == 0
    shown = capfd.readouterr().out
    assert "calibration.toml: written from 40 tracks" in shown
    assert re.search(r"note: \d+ of \d+ classes have less than 3 of these tracks", shown)
    cfg = config.load(place / "guard.toml")
    policy = config.policy_dict(cfg, config.load_cards(cfg))
    text = (place / "calibration.toml").read_text()
    assert cfg.temperatures["plain"] == policy["members"][0]["scores"]["temperature"]
    assert f"certainty = {policy['channels'][0]['raise']['certainty'] / 65536}" in text
    dark, odd = policy["detectors"]
    assert f"below = {dark['min'] / 65536}" in text
    assert f"above = {odd['max'] / 65536}" in text
    assert odd["min"] < odd["max"]
    assert policy["channels"][0]["lower"]["certainty"] == 39322  # 0.6, rounded up: left alone
    found = {f["id"]: f for f in json.loads(figures.read_text())["figures"]}
    assert found["calibrate.target_speed.raise.certainty"]["n"] == 30
    assert found["calibrate.dark.below"]["n"] == 40


def test_a_certainty_that_refuses_nothing_is_named(place, capfd):
    x, track = pictures()
    save(place, x=x, y=answers(x), track=track)
    assert calibrate(place, "--target-accuracy", "0.8", "--no-plots") == 0
    shown = capfd.readouterr().out
    asked = re.search(
        r"note: raise target_speed: 0\.0500 is the lowest .* of the (\d+) frames", shown
    )
    assert asked and 200 < int(asked[1]) <= 240  # 30 tracks of 8 frames, but for saturated ones


def test_a_guard_that_names_no_calibration_is_told_to(place, capfd):
    (place / "guard.toml").write_text(TOML.replace('calibration = "calibration.toml"\n', ""))
    x, track = pictures()
    save(place, x=x, y=answers(x), track=track)
    with pytest.raises(ConfigError, match=r'write calibration = "calibration.toml" there'):
        config.load(place / "guard.toml")
    assert calibrate(place, "--target-accuracy", "0.9") == 0
    line = f'next: in [guard] of {place / "guard.toml"} write: calibration = "calibration.toml"'
    assert line in capfd.readouterr().out
    (place / "new").mkdir()
    assert calibrate(place, "--target-accuracy", "0.9", "--out", str(place / "new/c.toml")) == 0
    assert 'write: calibration = "new/c.toml"' in capfd.readouterr().out


def test_a_calibration_that_another_guard_may_use_stays(place, capfd):
    unnamed = TOML.replace('calibration = "calibration.toml"\n', "")
    (place / "guard.toml").write_text(unnamed)
    save(place, **arrays())
    for name in ("calibration.toml", "calibration.npz"):
        (place / name).write_text("# of a.toml\n")
        untouched(place)
        assert f"{place / name}: exists, and {place / 'guard.toml'} does" in capfd.readouterr().err
        (place / name).unlink()


def test_a_full_disk_leaves_the_calibration_of_before(place, capfd):
    x, track = pictures()
    save(place, x=x, y=answers(x), track=track)
    assert calibrate(place, "--target-accuracy", "0.9", "--no-plots") == 0
    assert (place / "calibration.toml").stat().st_size > 1024
    with room(1024):
        untouched(place)
    assert "calibration.toml: cannot be written: File too large" in capfd.readouterr().err
    untouched(place, "--out", "/dev/null")
    assert "/dev/null: is no ordinary file; name another" in capfd.readouterr().err


def test_wishes_that_nothing_asks_for_are_named(place, capfd):
    plain = re.sub('(certainty|below|above) = "calibrated"', r"\1 = 0.5", TOML).split(
        "[detector.odd]"
    )
    (place / "guard.toml").write_text(plain[0])
    x, track = pictures()
    save(place, x=x, y=answers(x), track=track)
    wishes = ("--target-accuracy", "0.9", "--max-false-trips-per-hour", "500", "--no-plots")
    unused = ('leaves no certainty "calibrated"', 'leaves no limit of a detector "calibrated"')
    assert calibrate(place, *wishes) == 0
    shown = capfd.readouterr().out
    assert all(f"was not used: {place / 'guard.toml'} {said}" in shown for said in unused)
    (place / "guard.toml").write_text(TOML)
    assert calibrate(place, *wishes) == 0
    assert "was not used" not in capfd.readouterr().out


def test_the_rate_may_come_with_the_command_alone(place, capfd):
    text = re.sub("max_false_trips_per_hour = .*\n", "", TOML)
    (place / "guard.toml").write_text(text)
    x, track = pictures()
    save(place, x=x, y=answers(x), track=track)
    assert calibrate(place, "--target-accuracy", "0.9") == 2
    assert "detector.dark: leaves a limit to be calibrated" in capfd.readouterr().err
    assert calibrate(place, "--target-accuracy", "0.9", "--max-false-trips-per-hour", "500") == 0
    assert "next:" not in capfd.readouterr().out
    config.load(place / "guard.toml")


def test_what_the_tracks_cannot_support_is_refused_and_nothing_written(place, capfd):
    x, track = pictures()
    save(place, x=x, y=answers(x), track=track)
    assert calibrate(place, "--target-accuracy", "0.95", "--max-false-trips-per-hour", "20") == 2
    shown = capfd.readouterr().err
    assert "channel.target_speed.raise.certainty: an accuracy of 0.95" in shown
    assert "(without one error they show 0.904)" in shown  # 0.05 ** (1 / 30 tracks)
    assert "detector.dark.below: 20 false trips per hour" in shown
    assert "no less than 110" in shown  # 3600 / (0.8 s * 41 tracks)
    assert not (place / "calibration.toml").exists()


def test_a_gtsrb_folder_gives_the_calibration_tracks_of_its_split(tmp_path):
    image = pytest.importorskip("PIL.Image")
    from edgeguard.cli.calibration_run import read_data

    x, _ = pictures(tracks=16)  # 128 tiles: one row
    sheet = x.reshape(1, 128, 32, 32, 3).swapaxes(1, 2).reshape(32, 128 * 32, 3)
    (tmp_path / "gtsrb").mkdir()
    image.fromarray(sheet).save(tmp_path / "gtsrb" / "train_32.webp", lossless=True)
    y, track = np.repeat([3, 7], 64).astype(np.uint8), np.tile(np.arange(8).repeat(FRAMES), 2)
    np.savez(tmp_path / "gtsrb" / "train_32_index.npz", y=y, track=track)
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"calibration_tracks": [3002, 7001]}))
    data = read_data(tmp_path, split)
    assert data.track.tolist() == [3002] * FRAMES + [7001] * FRAMES
    assert data.y.tolist() == [3] * FRAMES + [7] * FRAMES
    assert np.array_equal(data.x, np.concatenate([x[16:24], x[72:80]]))
    split.write_text(json.dumps({"calibration_tracks": [1]}))
    with pytest.raises(ConfigError, match="none of the calibration tracks"):
        read_data(tmp_path, split)
    with pytest.raises(ConfigError, match=r"split\.json"):
        read_data(tmp_path, tmp_path / "no" / "split.json")


def arrays():
    x, track = pictures(tracks=12)
    return {"x": x, "y": np.zeros(len(x), np.int64), "track": track}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": None}, "has no array y"),
        ({"x": np.zeros((96, 32, 32, 3), np.float32)}, "x is float32"),
        ({"x": np.zeros((96, 32, 32), np.uint8)}, r"x is uint8 \[96, 32, 32\]"),
        ({"y": np.zeros(96)}, r"y is float64 \[96\]; .* whole numbers"),
        ({"y": np.zeros(96, bool)}, r"y is bool \[96\]"),
        ({"track": np.zeros((96, 1), int)}, r"track is int64 \[96, 1\]"),
        ({"frame": np.zeros(96)}, r"frame is float64 \[96\]"),
        ({"y": np.zeros(95, int)}, "not equally long"),
        ({k: a[:0] for k, a in arrays().items()}, "data.npz: holds no frames; want x uint8"),
        ({"y": np.full(96, 43)}, "y goes from 43 to 43, but plain.onnx has 43 classes"),
        ({"frame": np.zeros(96, int)}, "frame 1 does not follow"),
        ({"track": np.arange(96) % 12}, r"do not stand together; .*argsort\(track"),
        ({"track": np.zeros(96, int)}, "1 tracks; give at least 10"),
    ],
    ids=[
        "no y", "float x", "flat x", "float y", "bool y", "flat track", "float frame", "short y",
        "empty", "class 43", "frames that stand",
        "mixed tracks", "one track",
    ],
)  # fmt: skip
def test_data_that_does_not_fit_is_named(place, capfd, change, message):
    given = {**arrays(), **change}
    save(place, **{key: a for key, a in given.items() if a is not None})
    assert calibrate(place, "--target-accuracy", "0.8") == 2
    error = capfd.readouterr().err
    assert "data.npz: " in error
    assert "Traceback" not in error
    assert re.search(message, error)


def test_a_folder_of_pictures_is_no_data_set(place, capfd):
    (place / "data.npz").mkdir()
    (place / "data.npz" / "0.png").write_bytes(b"a picture")
    assert calibrate(place, "--target-accuracy", "0.8") == 2
    said = "data.npz: a folder without gtsrb/ in it; else give an .npz: want x uint8"
    assert said in capfd.readouterr().err


def test_a_file_that_is_no_npz(place, capfd):
    (place / "data.npz").write_bytes(b"not a zip file")
    assert calibrate(place, "--target-accuracy", "0.8") == 2
    assert "data.npz: cannot be read as npz" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((o, v) for o in ("--confidence", "--target-accuracy") for v in ("nan", "inf", "-inf")),
        ("--max-false-trips-per-hour", "nan"), ("--max-false-trips-per-hour", "inf"),
        ("--max-false-trips-per-hour", "1e400"),
    ],
)  # fmt: skip
def test_a_wish_is_a_finite_number(place, capfd, option, value):
    save(place, **arrays())
    assert calibrate(place, option, value) == 2
    shown = capfd.readouterr().err
    assert f"Invalid value for '{option}': {value} is not " in shown
    assert "Traceback" not in shown
    assert not (place / "calibration.toml").exists()


def untouched(place, *more):
    """Calibration is refused, and no file but the guard's own is written or changed."""
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert calibrate(place, "--target-accuracy", "0.9", "--no-plots", *more) == 2
    assert before == {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_what_is_read_is_not_written_over(place, capfd, option):
    x, track = pictures()
    save(place, x=x, y=answers(x), track=track)
    shipped = models_dir("gtsrb")
    for name in ("plain.onnx", "plain.card.json", "plain.golden.npz", "labels.json"):
        (place / name).write_bytes((shipped / name).read_bytes())
    local = TOML.replace("package:gtsrb/plain", "plain.onnx")
    (place / "guard.toml").write_text(local)
    (place / "link.toml").symlink_to(place / "guard.toml")
    for name in (
        "guard.toml", "data.npz", "link.toml", "plain.onnx", "plain.card.json", "plain.golden.npz",
        "labels.json",
    ):  # fmt: skip
        untouched(place, option, str(place / name))
        said = f"{option} {place / name}: is read here, and would be lost; name another"
        assert said in capfd.readouterr().err


def test_one_output_is_not_written_over_another(place, capfd):
    x, track = pictures()
    save(place, x=x, y=answers(x), track=track)
    for name in ("calibration.toml", "calibration.npz"):  # where nothing lies yet
        untouched(place, "--json", str(place / name))
        assert "the calibration is written there; name another" in capfd.readouterr().err
    (place / "calibration.toml").write_text("# of before\n")
    untouched(place, "--out", str(place / "new.toml"), "--json", str(place / "calibration.toml"))
    assert "calibration.toml: is read here, and would be lost" in capfd.readouterr().err
    untouched(place, "--out", str(place / "new.npz"))
    assert "its arrays have that name; call it .toml" in capfd.readouterr().err


def test_what_another_command_or_person_wrote_is_not_written_over(place, capfd):
    save(place, **arrays())
    wish = 'kind = "risk"\nmax_false_trips_per_hour = 2\n'
    (place / "guard.toml").write_text(f"{TOML}\n[detector.risk]\n{wish}")
    other = place / "other.toml"
    for content in (TOML, "[data]\ntracks = 3\n", "not = toml = at all", "# only words\n"):
        other.write_text(content)
        untouched(place, "--out", str(other))
        said = f"--out {other}: was not written by `edgeguard calibrate`, and would be lost"
        assert said in capfd.readouterr().err
    other.replace(place / "calibration.toml")  # named in guard.toml or not
    untouched(place)
    assert "calibration.toml: was not written by" in capfd.readouterr().err
    (place / "strange.npz").write_bytes(b"mine")
    for content in ("", '[contents]\nsha256 = "0"\n'):
        (place / "strange.toml").write_text(content)
        untouched(place, "--out", str(place / "strange.toml"))
        said = f"its arrays would replace {place / 'strange.npz'}, which it does not name"
        assert said in capfd.readouterr().err


def test_the_calibration_that_is_installed_stays(place, capfd):
    shipped = "package:gtsrb/ood.calibration.toml"
    (place / "guard.toml").write_text(TOML.replace("calibration.toml", shipped))
    save(place, x=arrays()["x"])  # which is refused in any case
    named = models_dir("gtsrb") / "ood.calibration.toml"
    inside = Path(config.__file__).parent / "calibration.toml"
    for more, target in (((), named), (("--out", named), named), (("--out", inside), inside)):
        untouched(place, *map(str, more))
        shown = capfd.readouterr().err
        assert f"{target}: belongs to the installed package" in shown
        assert "write another file with --out" in shown


def test_a_guard_toml_that_names_itself_as_its_calibration_stays(place, capfd):
    save(place, **arrays())
    (place / "guard.toml").write_text(TOML.replace("calibration.toml", "guard.toml"))
    untouched(place)
    assert "guard.calibration: " in capfd.readouterr().err


def test_arrays_are_not_written_over_the_tracks_that_they_come_from(place, capfd):
    save(place, **arrays())
    wish = 'kind = "risk"\nmax_false_trips_per_hour = 2\n'
    (place / "guard.toml").write_text(f"{TOML}\n[detector.risk]\n{wish}")
    untouched(place, "--out", str(place / "data.toml"))
    assert "data.npz: is read here, and would be lost; name another" in capfd.readouterr().err


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_an_output_without_a_folder_is_refused_before_anything_is_written(place, capfd, option):
    x, track = pictures()
    save(place, x=x, y=answers(x), track=track)
    untouched(place, option, str(place / "no" / "x.toml"))
    err = capfd.readouterr().err
    assert f"x.toml: there is no folder {place / 'no'}" in err
    assert ("--out FILE writes elsewhere" in err) == (option == "--out")


def test_a_bundle_takes_no_other_calibration(place, capfd):
    bundle = models_dir("gtsrb") / "demo.egb"
    with pytest.raises(SystemExit) as done:
        main(["calibrate", str(bundle), "--data", str(place / "guard.toml")])
    assert done.value.code == 2
    assert "is a bundle, which takes no other calibration" in capfd.readouterr().err


def test_a_target_is_asked_for_when_one_is_needed(place, capfd):
    save(place, **arrays())
    assert calibrate(place) == 2
    assert "give --target-accuracy" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('runtime = "onnx"', 'runtime = "external"', "calibrate has to run the model"),
        (
            'camera = "front"\nfeature',
            'camera = "rear"\nfeature',
            "look through front, rear; calibrate takes tracks of one camera",
        ),
    ],
    ids=["external", "two cameras"],
)
def test_guards_that_cannot_be_calibrated(place, capfd, old, new, message):
    rear = "[camera.rear]\nrate_hz = 10\nmax_age_ms = 250\n"
    (place / "guard.toml").write_text(TOML.replace(old, new) + rear)
    save(place, **arrays())
    assert calibrate(place, "--target-accuracy", "0.8") == 2
    assert message in capfd.readouterr().err
