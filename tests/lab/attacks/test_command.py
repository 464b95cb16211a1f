# SPDX-License-Identifier: Apache-2.0
"""`edgeguard lab attack` on a handful of pictures: figures, kept results, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgeguard.cli.lab_attack import attack
from edgeguard.lab.attacks.campaign import Outcome, invalid, key_of
from edgeguard.lab.attacks.plan import jobs
from edgeguard.zoo import models_dir
from tests.lab.signs import signs


@pytest.fixture
def data(tmp_path: Path) -> Path:
    x, y = signs(60)
    np.savez(tmp_path / "few.npz", x=x.transpose(0, 2, 3, 1), y=y)
    return tmp_path / "few.npz"


def run(data: Path, *more: str) -> tuple[int, dict[str, Any], str]:
    out = data.with_name("figures.json")
    made = CliRunner().invoke(attack, [
        str(models_dir() / "compact.tflite"), "--data", str(data), "--n", "10",
        "--results", str(data.parent / "kept"), "--json", str(out), "--jobs", "1", *more,
    ], standalone_mode=False)  # fmt: skip
    if made.exception is not None:
        raise made.exception
    rows = json.loads(out.read_text())["figures"]
    found = {row["id"]: {k: v for k, v in row.items() if k != "cpu_s"} for row in rows}
    return int(made.return_value or 0), found, made.output


def test_figures_and_kept_pictures(data: Path) -> None:
    status, found, _ = run(data, "--attack", "noise", "--attack", "jsma")
    assert status == 0
    assert list(found) == [
        "attack.compact.noise.linf.8.success", "attack.compact.jsma.l0.10.success",
        "attack.compact.agreement", "attack.compact.zero_gradients", "attack.compact.rules_broken",
    ]  # fmt: skip
    assert found["attack.compact.jsma.l0.10.success"]["value"] >= 0.9
    assert found["attack.compact.zero_gradients"]["value"] == 0
    assert found["attack.compact.rules_broken"]["rules"] == []
    kept_as = data.parent / "kept" / found["attack.compact.jsma.l0.10.success"]["kept"]
    assert json.loads((kept_as / "about.json").read_text())["threat"]["radius"] == 0.1
    kept = sorted((data.parent / "kept").rglob("*.npz"))
    assert len(kept) == 2
    stamps = [f.stat().st_mtime_ns for f in kept]
    assert run(data, "--attack", "noise", "--attack", "jsma")[1] == found
    assert [f.stat().st_mtime_ns for f in kept] == stamps
    with np.load(kept[0]) as stored:
        assert stored["pixels"].dtype == np.uint8
        assert len(stored["pixels"]) == len(stored["y"]) == len(stored["hit"]) == 10


def test_a_damaged_result_is_made_again(data: Path) -> None:
    found = run(data, "--attack", "noise")[1]
    (kept,) = (data.parent / "kept").rglob("*.npz")
    kept.write_bytes(b"half a file")
    assert run(data, "--attack", "noise")[1] == found


def test_what_quick_makes_weaker_is_not_taken_for_the_full_one() -> None:
    file, pixels = models_dir() / "compact.tflite", np.zeros((1, 3, 32, 32), np.uint8)

    def differ(name: str) -> bool:
        return key_of(jobs()[name], file, pixels, True) != key_of(jobs()[name], file, pixels, False)

    assert differ("substitute.linf.16")
    assert differ("universal.linf.8")
    assert not differ("pgd.linf.8")


def test_an_unknown_attack_is_named(data: Path) -> None:
    with pytest.raises(Exception, match=r"--attack pdg: known are .*pgd"):
        run(data, "--attack", "pdg")


def test_a_weak_iterative_attack_makes_the_evaluation_invalid() -> None:
    """E4, E18: what a masked gradient looks like."""
    known = jobs()

    def outcome(name: str, hits: int) -> Outcome:
        hit = np.arange(100) < hits
        return Outcome(known[name], hit, np.zeros(100), None)

    fine = [outcome("noise.linf.8", 1), outcome("fgsm.linf.8", 40), outcome("pgd.linf.8", 90)]
    assert invalid(fine) == []
    masked = [outcome("fgsm.linf.8", 40), outcome("pgd.linf.8", 20), outcome("square.linf.8", 70),
              outcome("apgd_dlr.linf.8", 30)]  # fmt: skip
    said = invalid(masked)
    assert len(said) == 3
    assert all(rule.startswith("E4: ") for rule in said)
