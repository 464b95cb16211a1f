# SPDX-License-Identifier: Apache-2.0
"""The attacks of the matrix: inside their radius, and strong against the int8 files themselves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from edgeguard import config
from edgeguard.cli.main import main
from edgeguard.errors import EdgeguardError
from edgeguard.streams.loops.fault import Moment
from edgeguard.streams.loops.matrix import ABLATED, ablated, heeded, make_fault
from edgeguard.streams.loops.patch import AT, FILE, patch
from edgeguard.streams.loops.vehicle import U8
from edgeguard.zoo import models_dir

torch = pytest.importorskip("torch", reason="the extra lab")
pytest.importorskip("onnx", reason="the extra lab")
POLICY = models_dir("drive") / "guard.toml"
STILL = Moment(0, {"rule": 0.0, "lateral": 1.0, "drift": 0.0, "speed": 20.0, "rule_speed": 20.0})


@pytest.fixture(scope="module")
def frame() -> U8:
    """A straight road on a lawn, as the game colours them."""
    made = np.full((84, 96, 3), (102, 204, 102), np.uint8)
    made[:, 37:59] = 105
    made[62:70, 46:50] = (200, 0, 0)
    return made


def said(frame: U8) -> dict[str, float]:
    """What the int8 files steer."""
    from edgeguard.inference.model import load_model
    from edgeguard.intake.camera import Camera
    from edgeguard.intake.preprocess import InputSpec

    found = {}
    for name, card in config.load_cards(config.load(POLICY)).items():
        if name == "cruise":
            continue
        model = load_model(card)
        Camera({InputSpec.of(card.input): model.input}, "RGB").look(frame)
        model.run()
        spec = card.scores
        found[name] = (float(model.scores[0]) - (spec.zero_point or 0)) * (spec.scale or 1.0)
        model.close()
    return found


def test_the_float_twins_steer_as_the_int8_files_do(frame: U8) -> None:
    from edgeguard.lab.drive.twins import twins

    x = torch.from_numpy(frame.transpose(2, 0, 1).copy()).float()[None] / 255
    for name, twin in twins(POLICY.parent).items():
        assert float(twin(x)) == pytest.approx(said(frame)[name], abs=0.05), name


def drifted(against: config.GuardConfig, radius: float, frame: U8) -> U8:
    """What PGD on all members has made of a frame after six of them."""
    from edgeguard.lab.attacks.driving import attack

    fault = attack(f"pgd all {radius:g}", against)(0)
    assert fault.frame is not None
    for _ in range(6):
        spoilt = fault.frame(frame, STILL)
    assert spoilt is not None
    return spoilt


def test_pgd_knows_no_limit_where_no_detector_has_one(frame: U8) -> None:
    loaded = config.load(POLICY)
    limited = {"apart_grey": evolve(loaded.detectors["apart_grey"], above=0.15)}
    tight = evolve(loaded, detectors={**loaded.detectors, **limited})
    held = said(drifted(tight, 16, frame))
    free = said(drifted(heeded(tight, "off"), 16, frame))
    assert held["grey"] < 0.15 < free["grey"] - 0.1


@pytest.mark.parametrize("radius", [4, 16])
def test_pgd_stays_inside_its_radius_and_the_guards_limit(frame: U8, radius: int) -> None:
    spoilt = drifted(config.load(POLICY), radius, frame)
    assert np.abs(spoilt.astype(int) - frame.astype(int)).max() <= radius
    limit = config.load(POLICY).detectors["apart_grey"].above
    assert isinstance(limit, float)
    moved = said(spoilt)
    assert all(0.0 < value < limit + 0.05 for value in moved.values())  # left, where it already is
    noise = np.random.default_rng(0).choice([-radius, radius], frame.shape)
    random = said(np.clip(frame.astype(int) + noise, 0, 255).astype(np.uint8))
    assert min(moved["grey"], moved["colour"]) > max(random.values())
    assert moved["hard"] >= random["hard"]  # it was trained against such changes


@pytest.mark.parametrize(("name", "above"), [("sharpness", 2.4), ("contrast", 25.0)])
def test_pgd_on_all_is_seen_by_no_detector_on_images(frame: U8, name: str, above: float) -> None:
    """By the guard's own kernel, with a limit just above what the frame has; without those
    detectors there is nothing to heed. Something is left of the attack."""
    from edgeguard.lab.attacks.driving import Unseen

    loaded = config.load(POLICY)
    near = evolve(loaded.detectors[name], above=above)
    tight = evolve(loaded, detectors={**loaded.detectors, name: near})
    unseen = Unseen(tight)
    assert unseen(frame)
    kept = drifted(tight, 16, frame)
    assert unseen(kept) and said(kept)["grey"] > 0.1
    assert not unseen(drifted(ablated(tight, ABLATED + "image"), 16, frame))


def test_pgd_on_all_heeds_the_narrowest_limit(frame: U8) -> None:
    loaded = config.load(POLICY)
    narrow = evolve(loaded.detectors["apart_colour"], above=0.3)
    tight = evolve(loaded, detectors={**loaded.detectors, "apart_colour": narrow})
    moved = said(drifted(tight, 16, frame))
    assert max(moved.values()) < 0.3 and moved["colour"] > 0.1


def test_a_patch_is_the_one_beside_the_policy_that_is_driven(frame: U8, tmp_path: Path) -> None:
    mine = {"still": np.full((18, 18, 3), 7, np.uint8), "printed": np.zeros((18, 18, 3), np.uint8)}
    np.savez(tmp_path / FILE, **mine)
    there = make_fault("patch", evolve(config.load(POLICY), source=tmp_path / "guard.toml"))(0)
    shipped = make_fault("patch", config.load(POLICY))(0)
    assert there.frame is not None and shipped.frame is not None
    seen = there.frame(frame, STILL)
    assert seen is not None and (seen != frame).any()
    assert (seen[AT[0] : AT[0] + 18, AT[1] : AT[1] + 18] == 7).all()
    assert not np.array_equal(seen, shipped.frame(frame, STILL))


def test_a_patch_moves_the_mid_value_and_a_printed_one_passes_by(frame: U8) -> None:
    still = patch("patch", POLICY.parent)(0).frame
    assert still is not None
    spoilt = still(frame, STILL)
    assert spoilt is not None
    assert np.median(list(said(spoilt).values())) > np.median(list(said(frame).values())) + 0.1
    printed = patch("printed patch", POLICY.parent)(0).frame
    assert printed is not None
    rows = []
    for since in range(80):
        seen = printed(frame, STILL._replace(since=since))
        assert seen is not None
        rows.append(np.flatnonzero((seen != frame).any((1, 2))))
    tops = [int(r[0]) for r in rows if len(r)]
    assert tops == sorted(tops) and tops[-1] > tops[0] + 30


def test_a_printed_patch_passes_by_a_slow_car_as_well(frame: U8) -> None:
    """It lies on the road until the car is over it, and only then comes the next."""
    printed = patch("printed patch", POLICY.parent)(0).frame
    assert printed is not None
    tops = []
    for since in range(700):
        seen = printed(frame, Moment(since, STILL.signals | {"speed": 10.0}))
        changed = np.flatnonzero((seen != frame).any((1, 2)))
        tops.append(int(changed[0]) if len(changed) else None)
    again = [i for i in range(1, 700) if tops[i] == 0 and tops[i - 1] != 0]
    assert len(again) == 3 and all(i > 120 for i in again)
    assert tops[again[0] - 2] == 84 - 18 and tops[: again[0] - 1] == sorted(tops[: again[0] - 1])


def test_flipped_bits_change_what_a_member_says_and_no_other(frame: U8) -> None:
    from edgeguard.lab.attacks.driving import attack

    loaded = config.load(POLICY)
    fault = attack("flips one", loaded)(3)
    assert fault.frame is not None and fault.member is not None
    fault.frame(frame, STILL)
    cards = config.load_cards(loaded)
    held = np.array([5], np.int8)
    assert fault.member(cards["hard"], held, STILL) is held
    assert fault.member(cards["grey"], held, STILL) is not held
    every = attack("flips all", loaded)(100)  # some of these LiteRT refuses
    assert every.frame is not None and every.member is not None
    every.frame(frame, STILL)
    assert every.member(cards["colour"], held, STILL) is not held


def test_every_model_has_its_own_bits_flipped() -> None:
    from edgeguard.lab.attacks.driving import flipped_bits

    cards = config.load_cards(config.load(POLICY))
    grey, hard = (flipped_bits(cards[name], 3, 10_000) for name in ("grey", "hard"))
    assert not np.array_equal(grey, hard)
    assert np.array_equal(grey, flipped_bits(cards["grey"], 3, 10_000))


def test_a_damaged_model_that_its_runtime_dies_of_ends_nobody_else() -> None:
    from edgeguard.lab.attacks.driving import comes_back

    assert comes_back(lambda: None)
    assert not comes_back(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert not comes_back(lambda: 1 / 0)


def test_patches_are_made_again_by_a_command(
    frame: U8, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a few frames, in a few rounds: grey at first, then not, and in ink's colours."""
    from edgeguard.lab.attacks import driving

    monkeypatch.setattr(driving, "ROUNDS", 3)
    for file in POLICY.parent.iterdir():
        if file.name != FILE:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    np.savez(tmp_path / "frames.npz", x=np.stack([frame] * 4))
    asked = ["lab", "patch", "drive", "--models", str(tmp_path), "--frames"]
    with pytest.raises(SystemExit) as done:
        main([*asked, str(tmp_path / "frames.npz")])
    assert not done.value.code
    with np.load(tmp_path / FILE) as made:
        assert set(made) == {"still", "printed"}
        for patch in made.values():
            assert patch.shape == (driving.SIDE, driving.SIDE, 3) and len(np.unique(patch)) > 3
        low, high = (round(255 * ink) for ink in driving.INK)
        assert low <= made["printed"].min() and made["printed"].max() <= high
    for wrong in ("guard.toml", FILE, "nowhere.npz"):
        with pytest.raises(SystemExit) as done:
            main([*asked, str(tmp_path / wrong)])
        assert done.value.code == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1 and wrong in said[0] and "want an .npz file with x" in said[0]


def test_twins_that_are_not_there_are_named_before_a_drive(tmp_path: Path) -> None:
    from edgeguard.lab.drive.twins import check

    check(models_dir("drive"))
    with pytest.raises(EdgeguardError, match=r"grey\.float\.onnx: no such file; a wheel has no"):
        check(tmp_path)
