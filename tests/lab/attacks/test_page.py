# SPDX-License-Identifier: Apache-2.0
"""The report of an evaluation: what it shows is what the results files say."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.errors import EdgeguardError
from edgeguard.lab.attacks import corpus, page
from edgeguard.lab.attacks.report import run
from tests.lab.attacks.evaluated import evaluated


def figures() -> dict[str, Any]:
    rows = json.loads((evaluated()[0].results / "figures.json").read_text())["figures"]
    return {row["id"]: row for row in rows}


def shown() -> str:
    return (evaluated()[0].results / "report.html").read_text()


def test_every_figure_has_its_n_and_every_share_an_interval() -> None:
    found = figures()
    assert found == {row["id"]: {k: v for k, v in json.loads(json.dumps(row)).items()
                                 if v is not None} for row in evaluated()[1].rows}  # fmt: skip
    for id, row in found.items():
        assert row["n"] >= 0, id
        if not id.endswith(("rules_broken", "hazard.left_out")):
            low, high = row["interval"]
            assert low <= row["value"] + 1e-9, id
            assert row["value"] <= high + 1e-9, id


def test_the_float_made_attack_is_told_apart_on_the_same_pictures() -> None:
    found = figures()
    for member in ("plain", "robust"):
        at = f"attack.{member}.cw_l2_float.l2.min"
        assert found[f"{at}.on_float"]["value"] == 1
        assert found[f"attack.{member}.cw_l2.l2.min.success"]["value"] == 1
        assert found[f"{at}.success"]["n"] == found[f"{at}.on_float"]["n"]
    assert "attack.compact.cw_l2_float.l2.min.success" not in found  # has no float twin in ONNX


def test_the_whole_guard_and_each_member_alone_are_there() -> None:
    found = figures()
    shown = found["guard.clean.coverage"]["n"]
    for radius in (4, 8):
        at = f"guard.hazard.linf.{radius}"
        accepted = found[at]["n"]
        singles = [found[f"{at}.alone.{m}"] for m in ("plain", "compact", "robust")]
        covered = [found[f"{at}.alone.{m}.coverage"] for m in ("plain", "compact", "robust")]
        assert found[f"{at}.best_member"]["value"] == min(s["value"] for s in singles)
        for single, cover in zip(singles, covered, strict=True):
            assert cover["n"] == shown
            assert single["n"] == round(cover["value"] * shown) >= accepted
    assert "holds" in found["guard.hazard.linf.4"]
    assert "holds" not in found["guard.hazard.linf.8"]


def test_an_evaluation_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Nothing that is there is made again, members and guard alike; what is gone is."""
    results = shutil.copytree(evaluated()[0].results, tmp_path / "copy")
    files = sorted(results.rglob("*.npz"))
    gone = next(f for f in files if f.parent.name.startswith("fgsm"))
    gone.unlink()
    stamps = {f: f.stat().st_mtime_ns for f in files if f != gone}
    again = run(replace(evaluated()[0], results=results))
    assert {f: f.stat().st_mtime_ns for f in files if f != gone} == stamps
    assert sorted(results.rglob("*.npz")) == files
    told = [{**row, "cpu_s": None} for row in evaluated()[1].rows]
    assert [{**row, "cpu_s": None} for row in again.rows] == told
    before, after = (json.loads((folder / "corpus.json").read_text())["version"]
                     for folder in (evaluated()[0].results, results))  # fmt: skip
    assert before == after


def test_everything_is_in_the_one_file() -> None:
    text = shown()
    for word in ("<script", "http://", "https://", "@import", "url(", "<iframe", '<link rel="sty'):
        assert word not in text
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', text)
    assert len(sources) > 20
    assert all(source.startswith("data:") for source in sources)


def test_rates_are_those_of_the_results() -> None:
    text = shown()
    for row in figures().values():
        if row["id"].endswith(".success") or row["id"].startswith("guard.hazard.linf.8.fell"):
            low, high = row["interval"]
            assert f"{row['value']:.1%} ({abs(low):.0%} to {high:.0%})" in text, row["id"]
    titles = ("Outcome", "The whole guard", "Attacks on each member", "The known trap",
              "Transfer between members", "Curves", "Gallery", "What makes this count")  # fmt: skip
    for title in titles:
        assert f"<h2>{title}" in text
    for row in figures().values():
        if row.get("holds") is False:
            assert f"<code>{row['id']}</code>" in text


def test_the_gallery_says_what_the_models_said() -> None:
    results = evaluated()[0].results
    content = json.loads((results / "gallery.json").read_text())
    fooled = [s for s in content["shown"] if s["figure"] == "attack.plain.cw_l2.l2.min.success"]
    (sample,) = fooled
    rows = corpus.read(results / sample["part"])
    assert sample["attacked"]["plain"] == rows["label"][sample["row"]] != sample["true"]
    assert sample["clean"]["plain"] == rows["y"][sample["row"]] == sample["true"]
    assert "guard_attacked" in sample
    of_guard = [s for s in content["shown"] if s["figure"].startswith("guard.")]
    assert of_guard
    for sample in of_guard:
        assert sample["guard_clean"] == {"raised": False, "causes": []}
        hit = corpus.read(results / sample["part"])["hit"][sample["row"]]
        assert sample["guard_attacked"]["raised"] == hit
    words = unescape(shown())
    assert content["labels"][sample["true"]] in words


def test_what_is_shown_is_never_markup(tmp_path: Path) -> None:
    results = shutil.copytree(evaluated()[0].results, tmp_path / "copy")
    file = results / "gallery.json"
    content = json.loads(file.read_text())
    content["labels"] = ["<img src=x>"] * len(content["labels"])
    file.write_text(json.dumps(content))
    assert "<img src=x>" not in page.page(results)
    assert "&lt;img src=x&gt;" in page.page(results)


def test_pictures_that_were_altered_are_not_shown(tmp_path: Path) -> None:
    results = shutil.copytree(evaluated()[0].results, tmp_path / "copy")
    file = next((results / "plain").rglob("*.npz"))
    with np.load(file) as stored:
        row = {name: stored[name].copy() for name in stored.files}
    row["pixels"][0, 0, 0, 0] ^= 1
    corpus.write(file, row)
    with pytest.raises(EdgeguardError, match=re.escape(str(file))):
        page.write(results)
    (results / "figures.json").unlink()
    with pytest.raises(EdgeguardError, match=r"figures\.json: cannot be read"):
        page.write(results)
