# SPDX-License-Identifier: Apache-2.0
"""Detectors on the shipped plain model: what the attacker differentiates is what the device
computes, and the target made of both is won exactly when the device is beaten."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab needs its extra")
pytest.importorskip("onnxruntime", reason="the plain member runs on it")

from edgeguard.card import Card  # noqa: E402
from edgeguard.evidence import boxes, embedding  # noqa: E402
from edgeguard.lab.attacks.losses import margin  # noqa: E402
from edgeguard.lab.attacks.pgd import PGD  # noqa: E402
from edgeguard.lab.attacks.threat import Threat  # noqa: E402
from edgeguard.lab.attacks.victim import Victim, images  # noqa: E402
from edgeguard.lab.defences.adaptive import RULES, Unseen, attack_unseen  # noqa: E402
from edgeguard.lab.defences.bench import Frames  # noqa: E402
from edgeguard.lab.defences.detector import Share, limit_at  # noqa: E402
from edgeguard.lab.defences.embedded import Boxes, Distance, Embedded, shipped_fits  # noqa: E402
from edgeguard.lab.defences.learned import Learned  # noqa: E402
from edgeguard.lab.defences.measure_detectors import Certainty, Static, set_limit  # noqa: E402
from edgeguard.lab.defences.squeeze import Squeezing  # noqa: E402
from edgeguard.lab.defences.together import Together  # noqa: E402
from edgeguard.zoo import models_dir  # noqa: E402

torch.set_num_threads(1)
NAMES = ("certainty", "squeezing", "boxes", "learned", "mahalanobis", "relative_mahalanobis",
         "nearest", "vim", "certainty+boxes")  # fmt: skip


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """The golden pictures with the labels that the model gives them, and noisy ones."""
    with np.load(models_dir() / "plain.golden.npz") as golden:
        pixels = (golden["x"].astype(np.int16) + 128).astype(np.uint8)
        y = golden["scores"].argmax(1).astype(np.int64)
    noise = np.random.default_rng(5).integers(-40, 41, pixels.shape)
    return np.concatenate([pixels, (pixels + noise).clip(0, 255).astype(np.uint8)]), np.r_[y, y]


@pytest.fixture(scope="module")
def found(pictures):
    pixels, y = pictures
    card = Card.load(models_dir() / "plain.card.json")
    model = Embedded(Victim(card.model_path, pixels, card))
    fits = shipped_fits(models_dir() / "ood.toml", "plain")
    made = [Certainty(model.victim, card.temperature), Squeezing(model.victim),
            Boxes.fitted(model, pixels[: len(y) // 2], y[: len(y) // 2]),
            Learned.fitted(model, pixels[: len(y) // 2], [pixels[len(y) // 2 :]])]  # fmt: skip
    made += [Distance(model, feature, fit) for feature, fit in fits.items()]
    made.append(Together([made[0], made[2]]))
    made[-1].fit(np.concatenate([pixels, pixels]))
    return {detector.name: detector for detector in made}


@pytest.mark.parametrize("name", NAMES)
def test_the_attacker_differentiates_what_the_device_computes(name, found, pictures):
    pixels, y = pictures
    x = images(pixels).requires_grad_()
    look = found[name].look(x, torch.from_numpy(y))
    device = found[name].measured(pixels)
    assert look.number.detach().numpy() == pytest.approx(device, rel=1e-4, abs=1e-3)
    assert np.ptp(device) > 0
    (gradient,) = torch.autograd.grad(look.number.sum(), x)
    assert gradient.flatten(1).any(1).sum() >= 8


@pytest.mark.parametrize("name", ["squeezing", "boxes", "vim", "certainty+boxes"])
@pytest.mark.parametrize("rule", RULES)
def test_the_target_is_won_exactly_when_the_device_is_beaten(name, rule, found, pictures):
    pixels, y = pictures
    detector = found[name]
    detector.limit = float(np.median(detector.measured(pixels)))
    for label in (int(y[0]), int(y[0]) + 1):
        target = Unseen(detector, label, rule)
        won = target.scores(images(pixels)).detach()[:, 1].numpy() > 0
        assert np.array_equal(won, target.labels(pixels) == 1)


def test_an_adaptive_attack_beats_a_detector_that_a_static_one_does_not(found, pictures):
    pixels, y = pictures[0][:4], pictures[1][:4]
    detector = found["certainty"]
    detector.limit = 0.02
    threat = Threat("linf", 32 / 255)
    attack = PGD(threat, 12, 0.2, 1, margin)
    won, made = attack_unseen(detector, attack, threat, pixels, y)
    assert won.sum() >= 3
    assert np.abs(made.astype(int) - pixels).max() <= 32
    assert (detector.labels(made)[won] != y[won]).all()
    assert (detector.measured(made)[won] <= 0.02).all()
    naive = attack(found["certainty"].model, images(pixels), torch.from_numpy(y))
    seen = detector.measured((naive * 255).round().to(torch.uint8).numpy()) > 0.02
    assert seen.sum() >= 2


def test_the_boxes_are_those_that_calibrate_fits_and_the_runtime_reads(found, pictures):
    """Of pictures that the model reads wrongly too; a class that none was shown of trips."""
    model, pixels = found["boxes"].model, pictures[0]
    scores, embedded = model.raw(pixels)
    labels, truth = scores.argmax(1), np.array([0, 6, 12, 18] * 2)
    made = Boxes.fitted(model, pixels[:8], truth)
    x, many = embedding.real(embedded[:8], model.output), 60  # calibrate wants more than 256
    want = embedding.fit("boxes", np.tile(x, (many, 1)), np.tile(truth, many), np.ones(8 * many))
    assert all(np.array_equal(made.fit[key], want[key]) for key in want)
    outside = boxes.Boxes(model.output, want).of_all(embedded, labels)
    has_box = ~np.isnan(outside)
    assert 0 < has_box.sum() < len(labels)
    assert outside[has_box].max() > 0
    number = made.measured(pixels)
    assert number[has_box] == pytest.approx(outside[has_box], abs=1e-4)
    assert (number[~has_box] > 1e6).all()
    look = made.look(images(pixels), torch.from_numpy(labels)).number.numpy()
    assert look == pytest.approx(number, rel=1e-4, abs=1e-3)


def test_the_learned_form_tells_apart_what_it_was_shown(found, pictures):
    """Clean pictures from noisy ones, where distances to clean ones alone do worse."""
    half = len(pictures[1]) // 2
    number = found["learned"].measured(pictures[0])
    assert number[:half].max() < number[half:].min()
    with pytest.raises(ValueError, match="needs clean pictures and attacked ones"):
        Learned.fitted(found["boxes"].model, pictures[0], [pictures[0][:0]])


def test_side_by_side_each_part_has_the_limit_of_the_whole(found, pictures):
    """What one of the deployed parts flags is what the whole flags."""
    pixels, _ = pictures
    whole = Together([found["boxes"], found["vim"]])
    whole.fit(np.concatenate([pixels, pixels]))
    alone = [part.limit for part in whole.parts]
    whole.limit = float(np.median(whole.measured(pixels)))
    parts = whole.deployed()
    flagged = np.any([part.measured(pixels) > part.limit for part in parts], axis=0)
    assert np.array_equal(flagged, whole.measured(pixels) > whole.limit)
    assert 0 < flagged.sum() < len(flagged)
    assert [part.limit for part in whole.parts] == alone  # those measured alone keep theirs
    assert all(part.limit != limit for part, limit in zip(parts, alone, strict=True))


def test_the_mean_of_what_is_detected_is_of_attacks_that_fooled_something():
    """And with none of these the bar is missed, in place of not being there."""
    bench = SimpleNamespace(member="plain")
    none, nine = Share(0, 0), Share(9, 10)
    found = Static({}, {"fgsm": none, "pgd": nine, "cw": Share(4, 5)}, {})
    mixed = found.notes(bench, "squeezing")["detected"]
    assert (mixed.value, mixed.n, mixed.holds) == (pytest.approx(0.85), 5, True)
    mixed = Static({}, {"fgsm": none, "pgd": none}, {}).notes(bench, "squeezing")["detected"]
    assert np.isnan(mixed.value)
    assert (mixed.n, mixed.holds) == (0, False)


def test_units_and_limits_are_of_different_tracks(found, pictures):
    pixels = np.tile(pictures[0], (5, 1, 1, 1))
    track = np.repeat([4_001, 4_002, 9_000, 12_007], 20)
    second = np.isin(track, (4_002, 12_007))
    pixels[second] //= 2  # whose numbers are others
    clean, even, odd = Frames(pixels, track // 1000, track), pixels[~second], pixels[second]
    whole = Together([found["boxes"], squeezing := Squeezing(found["boxes"].model.victim)])
    set_limit(whole, clean)
    units = np.quantile(squeezing.distances(even), 0.95, axis=1)
    assert squeezing.units == pytest.approx(units)
    assert squeezing.limit == limit_at(squeezing.measured(even))
    assert whole.limit == limit_at(whole.measured(odd)) != limit_at(whole.measured(pixels))
    set_limit(squeezing, clean)
    assert squeezing.limit == limit_at(squeezing.measured(odd))
    certainty = found["certainty"]
    set_limit(certainty, clean)
    assert certainty.limit == limit_at(certainty.measured(clean.pixels))


def test_the_limit_holds_for_new_numbers():
    """Split conformal: over many draws the mean share above is at most 5 %, and not far below."""
    rng = np.random.default_rng(2)
    above = [(rng.normal(size=200) > limit_at(rng.normal(size=99))).mean() for _ in range(400)]
    assert 0.04 < np.mean(above) < 0.053
    with pytest.raises(ValueError, match="cannot support"):
        limit_at(np.arange(10.0))
