# SPDX-License-Identifier: Apache-2.0
"""`edgeguard lab evaluate` on a handful of images: its figures and its exit status."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL", reason="the lab reads its data with Pillow")
pytest.importorskip("onnxruntime", reason="the plain member runs on it")
pytest.importorskip("ai_edge_litert", reason="the compact member runs on it")

from edgeguard.card import Card
from edgeguard.cli.main import main
from edgeguard.lab.zoo import data, evaluate, vote
from edgeguard.zoo import models_dir

MODELS = models_dir()
NAMES = ("plain", "compact", "robust")
FIGURES = [f"gtsrb.{n}.{what}" for n in NAMES for what in
           ("float.accuracy", "int8.accuracy", "int8.away")]  # fmt: skip
VOTE = ["gtsrb.vote.accuracy"] + [
    f"gtsrb.vote{of}.{what}" for of in ("", ".raise", ".lower")
    for what in ("selective_accuracy", "coverage")
]  # fmt: skip


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The golden inputs of the plain member with the labels that it gives them; no other data."""

    def nowhere(given: Any = None) -> Path:
        raise FileNotFoundError(f"no gtsrb/ in {given}")

    monkeypatch.setattr(data, "data_root", nowhere)
    with np.load(MODELS / "plain.golden.npz") as golden:
        x = (golden["x"].astype(np.int16) + 128).astype(np.uint8).transpose(0, 2, 3, 1)
        y = golden["scores"].argmax(1)
    np.savez(tmp_path / "few.npz", x=x, y=y)
    return tmp_path / "few.npz"


def figures(images: Path, n_pgd: int, models: Path = MODELS) -> tuple[int, dict[str, Any]]:
    out = images.with_name("figures.json")
    status = evaluate.evaluate(n_pgd=n_pgd, json=out, file=images, models=models)
    return status, {f["id"]: f for f in json.loads(out.read_text())["figures"]}


def check(status: int, found: dict[str, Any], ids: list[str]) -> None:
    assert list(found) == ids
    missed = [name for name, f in found.items() if f.get("holds") is False]
    assert status == (1 if missed else 0)
    assert all(0 <= f["value"] <= 1 for f in found.values())


def test_without_an_attack_and_without_data_the_vote_is_still_there(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found = figures(images, n_pgd=0)
    check(status, found, FIGURES + VOTE)
    assert found["gtsrb.plain.int8.accuracy"]["value"] == 1.0
    assert "interval" not in found["gtsrb.plain.int8.away"]
    # Not chosen on any data: the quorum and certainty of the operation that asks for less.
    selective, lower = (found[f"gtsrb.vote{of}.coverage"] for of in ("", ".lower"))
    assert selective["value"] == lower["value"]
    assert "as guard.toml asks" in capsys.readouterr().out


def test_the_attack_on_a_few_images(images: Path) -> None:
    pytest.importorskip("torch", reason="the attack needs torch (extra lab)")
    status, found = figures(images, n_pgd=2)
    check(status, found, [*FIGURES, "gtsrb.robust.pgd.2", "gtsrb.robust.pgd.4", *VOTE])
    assert found["gtsrb.robust.pgd.2"]["n"] == 2


def test_a_bar_that_does_not_hold_is_the_exit_status(images: Path) -> None:
    with np.load(images) as file:
        np.savez(images, x=file["x"], y=(file["y"] + 1) % 43)
    status, found = figures(images, n_pgd=0)
    assert status == 1
    assert found["gtsrb.plain.int8.accuracy"]["holds"] is False


def test_the_threshold_is_the_highest_that_accepts_the_wanted_share() -> None:
    level = np.arange(1000)
    votes = vote.Votes(np.zeros(1000, np.int64), np.random.default_rng(0).permutation(level))
    chosen = vote.choose(votes)
    assert (level >= chosen).mean() >= vote.WANTED_COVERAGE > (level >= chosen + 1).mean()
    assert vote.choose(vote.Votes(np.full(9, -1), np.full(9, -1))) == 0


def test_data_that_was_named_is_not_looked_for_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a typo gives figures of other pictures."""
    (tmp_path / "there" / "gtsrb").mkdir(parents=True)
    monkeypatch.setenv("EDGEGUARD_DATA", str(tmp_path / "there"))
    assert data.data_root() == tmp_path / "there"
    for named in ("given", "variable"):
        monkeypatch.setenv("EDGEGUARD_DATA", str(tmp_path / "variable"))
        with pytest.raises(FileNotFoundError, match=f"{named}: there is no gtsrb/ in it"):
            data.data_root("given" if named == "given" else None)


def run(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["lab", "evaluate", "gtsrb", *map(str, arguments)])
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere.npz"], "nowhere.npz: cannot be read as npz: No such file"),
        (["--data", "none.npz"], "none.npz: cannot be read as npz: it holds one array"),
        (["--data", "other.npz"], "other.npz: 'y is not a file in the archive'; want x and y"),
        (["--data", "few.npz", "--data-dir", "nowhere"], "no gtsrb/ in nowhere"),
        (["--data", "few.npz", "--json", "-"], "--json -: want a file"),
        (["--data", "few.npz", "--json", "nowhere/f.json"], "there is no folder nowhere"),
        ([], "no gtsrb/ in None"),
    ],
)
def test_what_is_wrong_is_named(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(images.parent)
    np.savez("other.npz", x=np.zeros(3))
    with Path("none.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    assert run(*arguments) == 2
    assert message.replace("'", "") in capsys.readouterr().err.replace("'", "")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y": np.full(8, 43)}, "y goes from 43 to 43; labels are 0 to 42"),
        ({"y": np.arange(8) - 1}, "y goes from -1 to 6; labels are 0 to 42"),
        ({"y": np.zeros((8, 1), int)}, "got uint8 (8, 32, 32, 3) and int64 (8, 1)"),
        ({"y": np.zeros(8)}, "got uint8 (8, 32, 32, 3) and float64 (8,)"),
        ({"y": np.int64(0)}, "got uint8 (8, 32, 32, 3) and int64 ()"),
        ({"x": np.uint8(0)}, "got uint8 () and int64 (8,)"),
        (
            {"x": np.zeros((0, 32, 32, 3), np.uint8), "y": np.zeros(0, int)},
            "N > 0, got uint8 (0, 32, 32, 3) and int64 (0,)",
        ),
    ],
)
def test_labels_that_are_none_are_refused(
    images: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, Any], message: str
) -> None:
    with np.load(images) as file:
        np.savez(images, **{"x": file["x"], "y": file["y"], **changed})
    assert run("--data", images, "--quick") == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "few.npz: " in shown and message in shown


def test_a_wheel_has_no_float_twins_and_says_so(images: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "gtsrb"
    shutil.copytree(MODELS, wheel, ignore=shutil.ignore_patterns("*.float.*", "tmp*"))
    assert Card.load(wheel / "plain.card.json").name == "plain"
    with pytest.raises(evaluate.EdgeguardError, match=r"plain\.float\.onnx: no such file; a wheel"):
        evaluate.evaluate(n_pgd=0, file=images, models=wheel)
