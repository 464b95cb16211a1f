# SPDX-License-Identifier: Apache-2.0
"""F09: bits of the shipped models, flipped one at a time."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from attrs import evolve

from edgeguard.card import Card
from edgeguard.config.fixed import ONE
from edgeguard.errors import ConfigError, EdgeguardError, ModelRefused
from edgeguard.figures import write
from edgeguard.lab.testing import flips
from edgeguard.lab.testing.constants import constants
from edgeguard.lab.testing.report import clean, figures, run
from edgeguard.zoo import models_dir

POLICY = models_dir() / "guard.toml"


@pytest.fixture(scope="module")
def bench() -> flips.Bench:
    return flips.bench(POLICY)


def arrays(data: bytes) -> dict[str, bytes]:
    model = onnx.load_from_string(data)
    return {t.name: onnx.numpy_helper.to_array(t).tobytes() for t in model.graph.initializer}


def test_every_bit_of_every_initialiser_is_there_once() -> None:
    held = constants((models_dir() / "plain.onnx").read_bytes(), ".onnx")
    before = arrays(held.data)
    assert held.bits == 8 * sum(map(len, before.values()))
    assert arrays((models_dir() / "plain.onnx").read_bytes()) == before
    spread = np.linspace(0, held.bits - 1, 40).astype(int).tolist()
    for bit in spread:
        after = arrays(held.flipped(bit))
        name = held.name(bit).partition("[")[0]
        assert [n for n in before if after[n] != before[n]] == [name]
        changed = int.from_bytes(before[name], "little") ^ int.from_bytes(after[name], "little")
        assert changed.bit_count() == 1


def test_a_tflite_file_has_its_weights_scales_and_zero_points() -> None:
    path: Path = models_dir() / "compact.tflite"
    held = constants(path.read_bytes(), ".tflite")
    sizes = {what: 0 for what in ("buffer", "scale", "zero point")}
    for span in held.spans:
        sizes["buffer" if span.name.startswith("buffer") else span.name.rpartition(" ")[2]
              if span.name.endswith("scale") else "zero point"] += span.size  # fmt: skip
        assert 0 < span.at < span.at + span.size <= len(held.data)
    assert sizes["buffer"] > 47_000  # as many parameters as its card says
    assert sizes["zero point"] == 2 * sizes["scale"]  # 8 bytes for each 4
    flipped = held.flipped(12345)
    assert sum((a ^ b).bit_count() for a, b in zip(held.data, flipped, strict=True)) == 1


def scales_of_scores(bench: flips.Bench, *labels: int) -> list[int]:
    """The bits that hurt most: a high exponent bit of the scales of the scores of speed limits."""
    held = bench.constants["plain"]
    at = 0
    for span in held.spans:
        if span.name == "head.weight_scale":
            return [8 * at + 32 * label + 30 for label in labels]
        at += span.size
    raise AssertionError([span.name for span in held.spans])


def test_a_flip_that_hurts_is_masked_by_the_others(bench: flips.Bench) -> None:
    found = [flips.judge(bench, "plain", bit) for bit in scales_of_scores(bench, 5, 7, 8)]
    assert any(bare for _, bare, _ in found)
    assert all(caught == "golden" for caught, bare, _ in found if bare)
    assert not any(guarded for *_, guarded in found)


def test_a_flip_that_agrees_with_what_another_misreads_passes_the_vote(bench: flips.Bench) -> None:
    """`robust` surely reads a far 20 as a 30, which two may command where more was in force. It
    counts where the vote came down to 20 without the flip, as with `compact` of `plain`'s opinion;
    as it is the vote does not come down at all, and 30 is less than what stays in force."""
    label, certainty = bench.said["robust"]
    misread = (bench.true == 0) & (label == 1) & (certainty >= bench.rule.demand["lower"].certainty)
    assert misread.any()
    bit = scales_of_scores(bench, 1)[0]
    agreeing = replace(bench, said={**bench.said, "compact": bench.said["plain"]})
    for held, counts in ((bench, False), (agreeing, True)):
        assert not flips.clean_wrong(held)[""][misread].any()
        assert flips.judge(held, "plain", bit) == ("golden", True, counts)


def test_a_raise_counts_where_the_vote_only_came_down_too_little_before(bench: flips.Bench) -> None:
    """All three read a 20 as a 30, one of them too unsure to go faster: from more they lower to 30,
    flipped or not, and from less the flip makes them raise. That the member itself was wrong before
    does not matter."""
    at = int(np.flatnonzero(bench.true == 0)[0])
    label = bench.true.copy()
    label[at] = 1
    sure, unsure = np.full_like(label, ONE), np.full_like(label, ONE)
    unsure[at] = 0.9 * ONE
    said = {name: (label, unsure if name == "robust" else sure) for name in bench.rows}
    held = replace(bench, said=said, alone=dict.fromkeys(bench.rows, label))
    assert flips.clean_wrong(held)["robust"][at]
    assert flips.clean_wrong(held)[""][at]
    assert not flips.through_guard(held, said).any()
    flipped = said | {"robust": (label, sure)}
    assert np.flatnonzero(flips.through_guard(held, flipped)).tolist() == [at]


def test_what_is_wrong_without_a_flip_is_not_counted(bench: flips.Bench) -> None:
    """With one voter and no threshold the guard commands what the model alone does; here it always
    says 120, so that no flip can make more of it wrong."""
    granted = np.array([name == "plain" for name in bench.rows])
    demand = {
        operation: replace(asked, quorum=1, certainty=0, granted=granted)
        for operation, asked in bench.rule.demand.items()
    }
    mute = {
        name: (label if name == "plain" else np.full_like(label, -1), sure)
        for name, (label, sure) in bench.said.items()
    }
    trusting = replace(bench, rule=replace(bench.rule, demand=demand), said=mute)
    bits = scales_of_scores(bench, 5, 7, 8)
    assert any(guarded for *_, guarded in (flips.judge(trusting, "plain", bit) for bit in bits))
    daring, sure = np.full_like(bench.true, 8), trusting.said["plain"][1]
    always = replace(
        trusting, alone={**bench.alone, "plain": daring}, said={**mute, "plain": (daring, sure)}
    )
    assert {flips.judge(always, "plain", bit)[1:] for bit in bits} == {(False, False)}
    assert clean(always)[0].value == clean(always)[1].value > 100


def test_a_guard_without_labels_is_refused_before_any_flip(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no channel of labels"):
        run(models_dir("drive") / "guard.toml", 1, 0, 1, tmp_path)


def test_a_broken_golden_file_is_an_error_and_no_catch(bench: flips.Bench, tmp_path: Path) -> None:
    """Else every flip would count as refused."""
    card = bench.cards["plain"]
    (tmp_path / card.golden.file).write_bytes(b"")
    broken = replace(bench, cards={**bench.cards, "plain": evolve(card, directory=tmp_path)})
    with pytest.raises(ModelRefused, match="golden"):
        flips.judge(broken, "plain", 0)


@pytest.mark.parametrize("shape", [False, True])
@pytest.mark.parametrize(("pictures", "found"), [(200, "refused"), (8, "golden")])
def test_only_what_a_runtime_says_to_a_flip_is_caught(
    pictures: int, found: str, shape: bool, bench: flips.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may fail for all pictures, or for as many as the self-test has; or answer for more."""
    made = flips.runner

    def fails(data: bytes, card: Card) -> flips.Run:
        def run(x: flips.Array) -> flips.Array:
            if (len(x) == 200) == (pictures == 200):
                if shape:
                    return np.repeat(made(data, card)(x), 3, axis=0)
                raise RuntimeError("of the runtime")
            return made(data, card)(x)

        return run

    monkeypatch.setattr(flips, "runner", fails)
    assert flips.judge(bench, "plain", 0)[0] == found


def test_a_runtime_that_dies_loses_a_member_and_no_more() -> None:
    def dies() -> tuple[str, bool, bool]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    assert flips._apart(dies) == ("crashed", False, False)


def test_an_injection_is_its_seeds_alone() -> None:
    one = flips.inject(POLICY, "compact", 5, 0)
    assert one == flips.inject(POLICY, "compact", 5, 0)
    assert one["k"] != flips.inject(POLICY, "compact", 5, 1)["k"]


def test_one_members_flips_alone_are_made_and_what_is_there_of_others_counts(
    tmp_path: Path,
) -> None:
    policy = models_dir() / "guard.toml"

    def flipped(n: int, *only: str) -> dict[str, float]:
        found = {f.id: f.value for f in run(policy, n, 0, 1, tmp_path, only)}
        return {k.split(".")[2]: v for k, v in found.items() if k.endswith(".injections")}

    assert flipped(1, "plain") == {"plain": 1}
    assert flipped(2, "compact") == {"plain": 1, "compact": 2}
    with pytest.raises(EdgeguardError, match=r"guard\.toml: no member plane; has plain, "):
        flipped(1, "plane")


def test_flips_are_of_the_cards_that_they_were_made_with(tmp_path: Path) -> None:
    copied = tmp_path / "gtsrb"
    shutil.copytree(models_dir(), copied, ignore=shutil.ignore_patterns("*.float.*"))

    def flipped(only: str) -> set[str]:
        found = run(copied / "guard.toml", 1, 0, 1, tmp_path / "results", [only])
        return {f.id.split(".")[2] for f in found if f.id.endswith(".injections")}

    assert flipped("compact") == {"compact"}
    card = copied / "compact.card.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "temperature": 0.05}))
    assert flipped("plain") == {"plain"}


def test_rates_and_their_ratio() -> None:
    rows = [{"n": i < 40, "w": 0, "s": "golden" if i < 10 else ""} for i in range(1000)]
    found = {f.id: f for f in figures("F09.x", rows)}
    assert found["inject.F09.x.wrong_rate_bare"].interval == pytest.approx(
        (0.0287, 0.0541), abs=2e-4
    )
    assert found["inject.F09.x.wrong_rate_guard"].interval == pytest.approx((0, 0.00368), abs=1e-5)
    assert found["inject.F09.x.ratio_upper"].value == pytest.approx(0.00368 / 0.0287, rel=0.01)
    assert found["inject.F09.x.ratio_upper"].holds
    assert found["inject.F09.x.caught_by_self_test"].value == 0.01


@pytest.mark.parametrize(
    ("bare", "guarded", "n", "holds"),
    [(10, 0, 100, None), (0, 0, 100, None), (27, 0, 100, True), (40, 9, 1000, False),
     (0, 1, 100, False), (10, 10, 100, False), (10, 0, 16_600, False), (40, 0, 16_600, True)],
)  # fmt: skip
def test_a_ratio_has_a_bar_where_its_flips_can_miss_or_meet_it(
    bare: int, guarded: int, n: int, holds: bool | None, tmp_path: Path
) -> None:
    rows = [{"n": i < bare, "w": i < guarded, "s": ""} for i in range(n)]
    found = figures("F09.x", rows)
    write(tmp_path / "out.json", found, 0, ())
    assert {f.id: f.holds for f in found}.get("inject.F09.x.ratio_upper") is holds
