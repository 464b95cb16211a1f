# SPDX-License-Identifier: Apache-2.0
"""The whole guard as a target: its loss says what the real guard then does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeguard.config.vocabulary import IMAGE_FEATURES
from edgeguard.errors import EdgeguardError
from edgeguard.evidence.selective import vote
from edgeguard.intake.preprocess import InputSpec, Preprocessor
from edgeguard.lab.attacks.alone import Alone, attacked
from edgeguard.lab.attacks.guard_box import GuardBox, raised
from edgeguard.lab.attacks.guarded import IMAGE, Bound, GuardedTarget, _named, _plurality
from edgeguard.lab.attacks.losses import margin
from edgeguard.lab.attacks.pgd import PGD
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import images, to_pixels
from edgeguard.zoo import models_dir
from tests.lab.signs import signs

POLICY = models_dir() / "guard.toml"
WATCHED = models_dir() / "ood.toml"
THIRTY, FIFTY, EIGHTY = 1, 2, 5


@cache
def pictures() -> tuple[np.ndarray, np.ndarray]:
    return signs(600)


def of(label: int) -> np.ndarray:
    x, y = pictures()
    return x[y == label]


@pytest.fixture(scope="module", params=[POLICY, WATCHED], ids=["guard", "watched"])
def bound(request: pytest.FixtureRequest) -> Iterator[Bound]:
    torch.set_num_threads(1)
    made = GuardedTarget(request.param, pictures()[0][::60]).above(8.33)
    with GuardBox(request.param, of(THIRTY)[-8:], 8.33) as box:
        made.box = box
        yield made


def test_the_real_guard_rests_and_raises(bound: Bound) -> None:
    assert bound.box is not None
    verdicts = bound.ask(np.concatenate([of(EIGHTY)[-1:], of(THIRTY)[:1]]))
    assert verdicts[0].labels == (EIGHTY,) * 3
    assert verdicts[0].raised
    assert not verdicts[1].raised
    assert bound.box.queries >= 2


def test_the_loss_says_what_the_guard_does(bound: Bound) -> None:
    """Positive margin and a raised command are the same thing, on signs of every kind."""
    x, _ = pictures()
    some = x[5::12]
    with torch.no_grad():
        scores = bound.margin(images(some)).numpy()
    done = raised(bound.ask(some))
    assert 3 < done.sum() < len(some) - 3
    sure = np.abs(scores) > 0.05
    np.testing.assert_array_equal((scores > 0)[sure], done[sure].astype(bool))
    assert sure.mean() > 0.9


def test_members_say_the_same_in_both(bound: Bound) -> None:
    some = pictures()[0][3::40]
    said = np.array([v.labels for v in bound.ask(some)])
    mine = np.stack([v.labels(some) for v in bound.guarded.victims.values()], 1)
    np.testing.assert_array_equal(said, mine)


def test_what_is_remembered_is_what_the_models_say() -> None:
    """Models run once on each picture of the prefix and each time on what is asked about; the
    answers, and so the verdicts, are those of a guard whose models always run."""
    prefix, some = of(THIRTY)[-8:], pictures()[0][5::24]
    some = np.concatenate([some, prefix[:2]])  # also what was shown before
    with GuardBox(POLICY, prefix, 8.33) as box, GuardBox(POLICY, prefix, 8.33) as forgetful:
        runs: list[str] = []
        for name, member in box._guard.members.items():
            model = member._model._model
            model.run = lambda n=name, run=model.run: (runs.append(n), run())
        for model in forgetful._models:
            model._kept = Nothing()
        said = [box.ask(some), box.ask(some)]
        assert [forgetful.ask(some), forgetful.ask(some)] == said
        assert len(runs) <= 3 * (2 * len(some) * box._stays + len(prefix))


class Nothing(dict[bytes, tuple[np.ndarray, ...]]):
    """Keeps nothing."""

    def __setitem__(self, *_: object) -> None:
        pass


def test_attacks_climb_the_loss() -> None:
    """A large radius fools the whole guard, and the real one agrees."""
    made = GuardedTarget(POLICY, pictures()[0][:5]).above(8.33)
    x = of(THIRTY)[:2]
    attack = PGD(Threat("linf", 48 / 255), steps=30, restarts=1, loss=margin)
    with GuardBox(POLICY, of(THIRTY)[-8:], 8.33) as box, torch.no_grad():
        made.box = box
        adv = attack(made, images(x), torch.zeros(2, dtype=torch.long))
        before, after = made.margin(images(x)), made.margin(adv)
        assert (after > before).all()
        np.testing.assert_array_equal(made.labels(to_pixels(adv)) == 1, after.numpy() > 0)
        assert (after > 0).any()


def asking(folder: Path, words: str) -> Path:
    """The shipped guard, which asks for something else before it goes faster."""
    shutil.copytree(models_dir(), folder / "models")
    policy = folder / "models" / "guard.toml"
    shipped = "raise = { certainty = 0.98, quorum = 3, frames = 2 }"
    assert shipped in policy.read_text()
    policy.write_text(policy.read_text().replace(shipped, f"raise = {words}"))
    return policy


def test_one_fooled_member_is_no_plurality(tmp_path: Path) -> None:
    """Where a quorum of one is enough, two members that still say the true sign outvote it."""
    policy = asking(tmp_path, "{ certainty = 0.3, quorum = 1 }")
    target = GuardedTarget(policy, pictures()[0][:5])
    bound, x = target.above(8.33), of(THIRTY)[:6]
    fooled = attacked(Alone(target, "plain", 8.33), x, np.full(6, THIRTY), Threat("linf", 6 / 255))
    with torch.no_grad():
        margin = bound.margin(images(fooled["pixels"])).numpy()
    with GuardBox(policy, of(THIRTY)[-8:], 8.33) as box:
        said = np.array([v.labels for v in box.ask(fooled["pixels"])])
        np.testing.assert_array_equal(raised(box.ask(fooled["pixels"])), margin > 0)
    assert (np.isin(said[:, 0], bound.classes) & (said[:, 1:] == THIRTY).all(1)).any()


def test_a_plurality_is_what_the_vote_counts() -> None:
    rng = np.random.default_rng(0)
    for members in (1, 2, 3, 4, 5, 6):
        logits = torch.from_numpy(rng.normal(size=(members, 400, 4)).astype(np.float32))
        named = torch.stack([_named(z) for z in logits], 2)
        found = _plurality(named, torch.arange(4)).numpy() > 0
        said = logits.argmax(2).numpy().T
        votes = vote(said, np.full(said.shape, 65536), np.ones(members, bool), 1)
        for label in range(4):
            np.testing.assert_array_equal(found[:, label], votes.winner == label)


def test_an_attack_goes_on_while_the_real_guard_does_not_move(tmp_path: Path) -> None:
    """What the loss takes for enough is not enough here: the real guard asks for more."""
    made = GuardedTarget(POLICY, pictures()[0][:5]).above(8.33)
    x = images(of(EIGHTY)).requires_grad_()
    with GuardBox(
        asking(tmp_path, "{ certainty = 0.9999, quorum = 3 }"), of(THIRTY)[-8:], 8.33
    ) as box:
        made.box = box
        scores = made.scores(x)[:, 1]
        done = raised(box.ask(of(EIGHTY))).astype(bool)
    refused = (made.margin(x) > 0).numpy() & ~done
    assert 0 < refused.sum() < len(done) - 2
    np.testing.assert_array_equal(scores.detach().numpy() > 0, done)
    (there,) = torch.autograd.grad(scores.sum(), x)
    (loss,) = torch.autograd.grad(made.margin(x).sum(), x)
    assert (there[refused].sign() == loss[refused].sign()).all()


@pytest.mark.parametrize(
    ("severity", "moves"), [("NOMINAL", True), ("DEGRADED", True), ("FALLBACK", False)]
)
def test_a_command_that_moves_beside_a_cause_that_lets_it_is_raised(
    tmp_path: Path, severity: str, moves: bool
) -> None:
    """Dark pictures trip a detector; below FALLBACK the models command all the same, and the
    attacker need not avoid it."""
    policy = asking(tmp_path, "{ certainty = 0.98, quorum = 3, frames = 2 }")
    row = "[cause.IMAGE_UNHEALTHY]               # the second bad frame in a row\nseverity = "
    text = policy.read_text().replace("below = 4.0 ", "below = 60.0 ")
    assert f'{row}"FALLBACK"' in text
    policy.write_text(text.replace(f'{row}"FALLBACK"', f'{row}"{severity}"'))
    dark = of(EIGHTY)[of(EIGHTY).mean((1, 2, 3)).argsort()[:1]]
    with GuardBox(policy, of(THIRTY)[of(THIRTY).mean((1, 2, 3)).argsort()[-8:]], 8.33) as box:
        (verdict,) = box.ask(dark)
    assert (verdict.raised, verdict.accepted) == (moves, moves)
    assert ("IMAGE_UNHEALTHY" in verdict.causes) != moves
    made = GuardedTarget(policy, pictures()[0][:5]).above(8.33)
    assert (float(made.margin(images(dark))) > 0) == moves


def test_image_features_are_those_of_the_kernel() -> None:
    """All that guard.toml knows, so that no guard is refused for one; dark, bright and flat too."""
    x, _ = signs(4)
    flat = np.full((1, 3, 32, 32), 16, np.uint8)
    shown = np.concatenate([x, x // 6, np.minimum(x * 1.5 + 60, 255).astype(np.uint8), flat])
    kernel = Preprocessor(InputSpec(32, 32), 32, 32, "RGB")
    frames = [np.ascontiguousarray(picture.transpose(1, 2, 0)) for picture in shown]
    wanted = np.array([kernel.run(f, kernel.spec.empty()).features for f in frames])
    assert (wanted.std(0) > 0).all()
    for at, name in enumerate(IMAGE_FEATURES):
        pixels = images(shown).requires_grad_()
        value = IMAGE[name](pixels)
        if name == "contrast":
            wanted[:, at] = wanted[:, at].clip(1e-3)
        np.testing.assert_allclose(value.detach().numpy(), wanted[:, at], rtol=1e-4, atol=1e-5)
        (gradient,) = torch.autograd.grad(value.sum(), pixels)
        assert torch.isfinite(gradient).all()
        assert (gradient[:-1] != 0).any(), name


def test_a_detector_that_the_loss_does_not_know_is_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(IMAGE, "mean")
    said = r"detector\.\w+: image mean is not part.*--member.*leave the detector out"
    with pytest.raises(EdgeguardError, match=said):
        GuardedTarget(POLICY, pictures()[0][:5])


def test_nothing_is_above_the_highest_command() -> None:
    with pytest.raises(EdgeguardError, match="no label commands more"):
        GuardedTarget(POLICY, pictures()[0][:5]).above(34.0)


def test_a_prefix_that_is_not_accepted_is_named() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32)).astype(np.uint8)
    with pytest.raises(EdgeguardError, match="does not rest"):
        GuardBox(POLICY, noise, 8.33)
