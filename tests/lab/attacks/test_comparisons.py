# SPDX-License-Identifier: Apache-2.0
"""What stands beside what: members alone at the guard's coverage, transfer, intervals."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgeguard.config.calibration import own_sha256
from edgeguard.config.toml import parse
from edgeguard.errors import EdgeguardError
from edgeguard.lab.attacks import corpus, guard_rules, guard_run
from edgeguard.lab.attacks.alone import Alone, At, at_coverage, attacked, curve
from edgeguard.lab.attacks.campaign import Outcome, worst_case
from edgeguard.lab.attacks.guard_attacks import WAYS, Attacked
from edgeguard.lab.attacks.guard_box import GuardBox
from edgeguard.lab.attacks.guard_run import Hazard, _Run
from edgeguard.lab.attacks.guard_run import hazard as run_hazard
from edgeguard.lab.attacks.guarded import GuardedTarget
from edgeguard.lab.attacks.intervals import mean_interval, median_interval
from edgeguard.lab.attacks.plan import jobs
from edgeguard.lab.attacks.resting import Resting
from edgeguard.lab.attacks.signs import Fooled
from edgeguard.lab.attacks.signs import figures as signs_figures
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.transfer import transfer
from edgeguard.zoo import models_dir
from tests.lab.attacks.linear import LinearVictim
from tests.lab.signs import signs

POLICY = models_dir() / "guard.toml"
THIRTY, FIFTY, EIGHTY = 1, 2, 5


def certainties(*pairs: tuple[float, float | None]) -> dict[str, Any]:
    """Clean certainty, and that of a dangerous label after the attack (None: there is none)."""
    return {
        "harmless": np.ones(len(pairs), bool),
        "clean_certainty": np.array([round(c * 65536) for c, _ in pairs]),
        "hit": np.array([a is not None for _, a in pairs]),
        "certainty": np.array([round((a or 0) * 65536) for _, a in pairs]),
    }


def test_a_member_alone_gets_the_strictest_threshold_that_covers_as_much() -> None:
    rows = certainties((0.99, 0.95), (0.90, 0.93), (0.80, None), (0.60, 0.99))
    assert at_coverage(rows, 2) == At(round(0.90 * 65536) / 65536, 4, 2, 2)
    assert at_coverage(rows, 1) == At(round(0.99 * 65536) / 65536, 4, 1, 0)
    assert at_coverage(rows, 3).hit == 2
    assert at_coverage(rows, 4) == At(round(0.60 * 65536) / 65536, 4, 4, 3)


def test_harm_when_clean_is_never_covered() -> None:
    rows = certainties((0.99, 0.99), (0.98, 0.99))
    rows["harmless"][0] = False
    assert at_coverage(rows, 2) == At(0.0, 2, 1, 1)
    assert [(at.accepted, at.hit) for at in curve(rows)] == [(1, 1)]


def test_the_curve_loosens_the_threshold_step_by_step() -> None:
    rows = certainties((0.99, 0.95), (0.90, 0.93), (0.90, None), (0.60, 0.99))
    assert [(at.coverage, at.hit) for at in curve(rows)] == [(0.25, 0), (0.75, 2), (1.0, 3)]


@pytest.fixture(scope="module")
def target() -> GuardedTarget:
    torch.set_num_threads(1)
    return GuardedTarget(POLICY, signs(600)[0][::120])


def of(label: int) -> np.ndarray:
    x, y = signs(600)
    return x[y == label]


def test_a_member_alone_says_what_it_says_in_the_guard(target: GuardedTarget) -> None:
    some = signs(600)[0][7::90]
    with GuardBox(POLICY, of(THIRTY)[-8:], 8.33) as box:
        said = np.array([v.labels for v in box.ask(some)])
    for i, name in enumerate(target.victims):
        labels, certainty = Alone(target, name, 8.33).said(some)
        np.testing.assert_array_equal(labels, said[:, i])
        assert ((certainty >= 0) & (certainty <= 65536)).all()


def test_the_attack_on_a_member_alone_makes_it_sure_of_more_speed(target: GuardedTarget) -> None:
    x = of(THIRTY)[:3]
    row = attacked(Alone(target, "compact", 8.33), x, np.full(3, THIRTY), Threat("linf", 32 / 255))
    assert row["harmless"].all()
    assert row["hit"].any()
    assert (row["certainty"][row["hit"]] > 0.9 * 65536).any()
    assert (target.value[row["label"][row["hit"]]] > 8.33).all()
    assert (np.abs(row["pixels"].astype(int) - x).max((1, 2, 3)) <= 32).all()


def test_results_of_other_pictures_or_another_calibration_are_not_continued(
    target: GuardedTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = signs(600)
    own, threat = (x[::50], y[::50]), Threat("linf", 4 / 255)

    def folder(of: GuardedTarget, pixels: np.ndarray, mine: Any = own) -> Path:
        return _Run(Resting(of, mine), pixels, y[:4], threat, tmp_path).folders["guard"]

    first = folder(target, x[:4])
    assert folder(target, x[:4]) == first
    assert folder(target, x[:4] ^ 1) != first
    assert folder(target, x[:4], (own[0] ^ 1, own[1])) != first
    with monkeypatch.context() as other:  # a change of any source of edgeguard: all of it decides
        other.setattr(guard_run, "key_of", lambda: "another")
        assert folder(target, x[:4]) != first

    there = tmp_path / "models"
    shutil.copytree(models_dir(), there)
    watched = there / "ood.toml"
    before = folder(GuardedTarget(watched, x[:2]), x[:4])
    calibration = there / "ood.calibration.toml"
    text = calibration.read_text()
    text = text[: text.index("[contents]")].replace("plain = 0.4608", "plain = 0.5")
    digest = own_sha256(parse(text, calibration))
    calibration.write_text(f'{text}[contents]\nsha256 = "{digest}"\n')
    after = folder(GuardedTarget(watched, x[:2]), x[:4])
    assert after != before
    plain = there / "guard.toml"  # whose numbers are its own, so that its cards may change
    before = folder(GuardedTarget(plain, x[:2]), x[:4])
    card = json.loads((there / "plain.card.json").read_text())
    card["input"]["colour"] = "BGR"
    (there / "plain.card.json").write_text(json.dumps(card))
    assert folder(GuardedTarget(plain, x[:2]), x[:4]) != before


def test_pictures_that_cannot_be_judged_are_shown_and_not_accepted(
    target: GuardedTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attacker has clean pictures of one sign only: of the other sign none is judged."""

    def handful(run: _Run, *of: Any) -> None:
        row = {**certainties((0.9, None)), "accepted": np.ones(1, bool)}
        for rows in run.made.values():
            rows.append(row)

    monkeypatch.setattr(_Run, "handful", handful)
    x, y = np.concatenate([of(THIRTY)[:1], of(FIFTY)[:3]]), np.array([THIRTY] + 3 * [FIFTY])
    mine = (np.concatenate([of(THIRTY)[-8:], of(EIGHTY)[-8:]]), np.repeat([THIRTY, EIGHTY], 8))
    with Resting(target, mine) as resting:
        assert resting.left_out(y) == 3
        found = run_hazard(resting, x, y, 1, tmp_path, 10)
        assert (found.shown, found.left_out, found.accepted) == (4, 3, 1)
        rows = {
            "fell": np.zeros((1, 3), bool),
            "causes": np.array([""]),
            "tried": np.zeros(1, bool),
        }
        found.rows.update(rows, hit=rows["tried"], **dict.fromkeys(WAYS, rows["tried"]))
        made = {f.id: f for f in found.figures(barred=True)}
        assert made["guard.clean.coverage"].value == 0.25
        assert made["guard.hazard.linf.1.alone.plain.coverage"].value == 0.25
        assert (made["guard.hazard.left_out"].value, made["guard.hazard.left_out"].n) == (3, 4)
        with pytest.raises(EdgeguardError, match=r"for 3 the attacker's own.*of one class"):
            run_hazard(resting, x[1:], y[1:], 1, tmp_path, 10)
        top = np.array([int(np.nanargmax(target.value))])
        with pytest.raises(EdgeguardError, match="above none of their classes more is commanded"):
            run_hazard(resting, x[:1], top, 1, tmp_path, 10)


def hazard(hits: int, best: int, n: int = 10, levels: float = 4, **ways: int) -> Hazard:
    """Of n accepted pictures, as many hits of each way as are named."""
    rows = {
        "accepted": np.ones(n, bool), "hit": np.arange(n) < hits,
        **{way: np.arange(n) < ways.get(way, 0) for way in (*WAYS, "tried", "flat")},
        "fell": np.stack([np.arange(n) < 6, np.arange(n) < 2], 1),
        "causes": np.array((["OPERATION_DENIED LOW_CERTAINTY"] * 2 + [""] * n)[:n], object),
    }  # fmt: skip
    alone = {"weak": At(0.5, n, n, 9), "strong": At(0.9, n, n, best)}
    return Hazard(levels, n, rows, alone, {})


def test_the_bar_of_the_guard_is_half_of_the_best_member() -> None:
    found = {f.id: f for f in hazard(2, 4).figures(barred=True)}
    at = "guard.hazard.linf.4"
    assert (found[at].value, found[at].holds) == (0.2, True)
    assert found[at].bar == "<= 0.2, half of the best single member's (strong)"
    assert found[f"{at}.best_member"].value == 0.4
    assert found["guard.clean.coverage"].value == 1
    assert hazard(3, 4).figures(barred=True)[0].holds is False
    assert hazard(0, 0).figures(barred=True)[0].holds is True
    assert hazard(1, 0).figures(barred=True)[0].holds is False
    assert hazard(3, 4).figures(barred=False)[0].holds is None
    assert found[f"{at}.fell.weak"].value == 0.6
    assert found[f"{at}.stopped_by.LOW_CERTAINTY"].value == 0.2
    assert found[f"{at}.label_only"].n == 0  # nothing was tried
    assert (found["guard.hazard.left_out"].value, found["guard.hazard.left_out"].n) == (0, 10)
    counted = [f for f in found.values() if not f.id.endswith(("label_only", "left_out"))]
    assert all(f.n and f.interval for f in counted)


def test_a_guard_that_accepts_nothing_holds_no_bar() -> None:
    """E8: rejecting everything scores 0."""
    nothing = hazard(0, 0, n=0)
    assert nothing.figures(barred=True)[0].holds is False
    assert any(rule.startswith("E8: ") for rule in guard_rules.figures([nothing, nothing])[1])


def test_an_evaluation_of_the_guard_that_breaks_a_rule_is_named() -> None:
    """E4, E5: each rule by the numbers of an attack that does not do what it should."""
    few = {"noise": 1, "one_step": 10, "gradients": 20, "label_only": 5, "tried": 40}
    wide = hazard(50, 0, n=50, levels=128, gradients=50, one_step=3)

    def said(near: dict[str, int], far: dict[str, int], last: Hazard = wide) -> list[str]:
        made = [hazard(at["gradients"], 0, n=100, levels=levels, **at)
                for levels, at in ((4, near), (8, far))]  # fmt: skip
        rows, broken = guard_rules.figures([*made, last])
        assert (rows[0].id, rows[0].value) == ("guard.hazard.rules_broken", len(broken))
        return broken

    more = {**few, "gradients": 30}
    assert said(few, more) == []
    for near, far, last, wanted in (
        ({**few, "noise": 13}, more, wide, "E4: at 4/255 noise .* stronger than one_step"),
        (few, {**more, "one_step": 33}, wide, "E4: at 8/255 one_step .* stronger than gradients"),
        (few, {**few, "gradients": 17}, wide, "E4: 8/255 .* is weaker than 4/255"),
        (few, more, hazard(40, 0, n=50, levels=128, gradients=40), "E4: even 128/255 fools only"),
        ({**few, "flat": 25}, more, wide, "E5: 25% of the images have no gradient"),
        ({**few, "label_only": 23}, more, wide, "E4: at 4/255 3 of 100 fall to answers alone"),
    ):
        (rule,) = said(near, far, last)
        assert re.match(wanted, rule), rule


def test_all_attacks_on_the_guard_are_tried_and_the_worst_is_shown(target: GuardedTarget) -> None:
    """At a radius at which all of them succeed, the one that sees only answers too."""
    x, start = of(THIRTY)[:2], of(EIGHTY)[-4:]
    bound = target.above(8.33)
    with GuardBox(POLICY, of(THIRTY)[-8:], 8.33) as box:
        bound.box = box
        wide = Threat("linf", 160 / 255)
        black = replace(wide, knowledge="labels", queries=60)
        made = Attacked(bound, x, wide, black, [x], start)
        shown = box.ask(made.shown)
    for way in ("gradients", "label_only"):
        assert made.hits[way].all()
    assert not made.hits["noise"].any()
    assert (made.tried & (made.queries > 0) & (made.queries <= 60)).all()
    assert not made.flat.any()
    assert all(v.raised for v in made.verdicts)
    assert shown == made.verdicts


def made_on(victim: LinearVictim, folder: Path) -> Outcome:
    """Samples that fool a linear victim: each is another picture of the other class."""
    pixels, y = victim.near(0, 40)
    other = pixels[::-1].copy()
    label = victim.labels(other)
    hit = label != y
    corpus.write(folder / "00000.npz", {
        "clean": pixels, "pixels": other, "y": y, "label": label, "hit": hit,
        "size": np.ones(40), "queries": np.zeros(40, np.int64), "cpu_s": np.ones(40),
    })  # fmt: skip
    return Outcome(jobs()["pgd.linf.8"], hit, np.ones(40), None, folder)


def test_transfer_is_all_to_a_copy_and_nothing_to_one_that_sees_something_else(
    tmp_path: Path,
) -> None:
    one = LinearVictim.random(1)
    copy = LinearVictim(one.w * 2, one.b * 2)
    opposite = LinearVictim(one.w.flip(0), one.b.flip(0))  # reads every picture the other way
    made = made_on(one, tmp_path)
    victims = {"one": one, "copy": copy, "opposite": opposite}
    found = {f.id: f for f in transfer({"one": [made]}, victims, None, 2)}
    at = "attack.transfer.one"
    assert found[f"{at}.copy.pgd.linf.8"].value == 1
    assert found[f"{at}.copy.pgd.linf.8"].n == made.hit.sum()
    assert found[f"{at}.opposite.pgd.linf.8"].n == 0  # it reads no clean picture rightly
    assert found["vote.common_mode.pgd.linf.8.one"].value == 1  # one and its copy
    alone = {f.id: f for f in transfer({"one": [made]}, {"one": one, "copy": copy}, None, 3)}
    assert alone["vote.common_mode.pgd.linf.8.one"].value == 0


def test_an_image_counts_once_whatever_fooled_it() -> None:
    """E7, of the images that all attacks were tried on."""
    known = jobs()

    def outcome(name: str, *hit: int) -> Outcome:
        return Outcome(known[name], np.array(hit, bool), np.zeros(len(hit)), None)

    found = [outcome("noise.linf.8", 1, 1, 1, 1), outcome("fgsm.linf.8", 1, 0, 0, 1),
             outcome("pgd.linf.8", 0, 1, 0), outcome("jsma.l0.10", 1, 1, 1)]  # fmt: skip
    (figure,) = worst_case(found, "m", "linf.8")
    assert (figure.id, figure.n) == ("attack.m.worst.linf.8.success", 3)
    assert figure.value == pytest.approx(2 / 3)
    (figure,) = worst_case([*found, outcome("square.linf.8", 0, 0)], "m", "linf.8")
    assert (figure.n, figure.value) == (3, pytest.approx(2 / 3))
    assert worst_case(found[:2], "m", "linf.8") == []
    smaller = [outcome("pgd.linf.2", 0, 1), outcome("apgd_ce.linf.2", 0, 0)]
    (figure,) = worst_case([*found, *smaller], "m", "linf.2")
    assert (figure.id, figure.n, figure.value) == ("attack.m.worst.linf.2.success", 2, 0.5)


def test_the_interval_of_a_median_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for n in (7, 20, 101):
        inside = 0
        for _ in range(2000):
            low, high = median_interval(rng.exponential(size=n))
            inside += low <= np.log(2) <= high
        assert inside / 2000 >= 0.94
    assert median_interval(np.array([3, 1, 2])) == (1.0, 3.0)


def test_the_interval_of_a_mean_is_never_a_point() -> None:
    """Twelve signs that all fell say what twelve of twelve say: Clopper and Pearson."""
    assert mean_interval(np.ones(12)) == (pytest.approx(0.025 ** (1 / 12)), 1.0)
    assert mean_interval(np.zeros(12)) == (0.0, pytest.approx(1 - 0.025 ** (1 / 12)))
    low, high = mean_interval(np.full(12, 0.8))
    assert low < 0.6
    assert 0.9 < high < 1
    assert mean_interval(np.zeros(0)) == (0.0, 1.0)


def test_the_interval_of_a_mean_covers_it_whatever_the_shares_are_like() -> None:
    rng = np.random.default_rng(0)
    for draw, mean in ((lambda: rng.beta(8, 0.4, 12), 8 / 8.4),
                       (lambda: (rng.random(12) < 0.9).astype(float), 0.9)):  # fmt: skip
        inside = 0
        for _ in range(400):
            low, high = mean_interval(draw())
            inside += low <= mean <= high
        assert inside / 400 >= 0.95


def test_a_sign_that_is_never_read_rightly_is_left_out() -> None:
    """It did not withstand the stickers, either."""
    shares = ((14, 0.9, 0.8), (17, 0.7, 1.0), (0, 0.0, 0.0))
    found = [Fooled(label, 5, 0.19, targeted, 1.0, right, 0.0) for label, targeted, right in shares]
    made = {f.id.removeprefix("attack.m.rp2.cover20."): f for f in signs_figures("m", found, 0.8)}
    assert (made["success"].value, made["success"].n) == (pytest.approx(0.8), 2)
    assert made["success"].holds is True
    assert made["clean_right"].value == pytest.approx(0.9)
    assert (made["left_out"].value, made["left_out"].n) == (1, 3)
    none = signs_figures("m", found[2:], 0.8)
    assert (none[0].n, none[0].holds, none[0].interval) == (0, False, (0.0, 1.0))
