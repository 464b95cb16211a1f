# SPDX-License-Identifier: Apache-2.0
"""What is kept of drives is used again only where it would be the same, and never half of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeguard.streams.loops.kept import key, of_policy


def test_the_key_changes_with_a_file_and_with_a_package(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = key([tmp_path / "a"], ("numpy",))
    assert key([tmp_path / "a"], ("numpy",)) == first
    assert key([tmp_path / "a"], ("numpy", "click")) != first
    (tmp_path / "a").write_text("2")
    assert key([tmp_path / "a"], ("numpy",)) != first


def test_the_key_of_a_policy_is_of_its_models_too(tmp_path: Path) -> None:
    for name in ("guard.toml", "grey.onnx", "patch.npz"):
        (tmp_path / name).write_text(name)
    before = of_policy(tmp_path / "guard.toml"), of_policy(tmp_path / "guard.toml", "patch.npz")
    (tmp_path / "patch.npz").write_text("another")
    after = of_policy(tmp_path / "guard.toml"), of_policy(tmp_path / "guard.toml", "patch.npz")
    assert after[0] != before[0] and after[1] == before[1]
    (tmp_path / "grey.onnx").write_text("another")
    assert of_policy(tmp_path / "guard.toml", "patch.npz") != before[1]


def test_a_line_that_was_cut_off_is_driven_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("Box2D", reason="the extra drive")
    from edgeguard.streams.loops import takeover

    monkeypatch.setattr(takeover, "KINDS", {"hard over": (1, 2)})
    monkeypatch.setattr(takeover, "LONG", 5)
    kept = tmp_path / "takeover.jsonl"
    points = takeover.measure(1, 1, kept)
    text = kept.read_text()
    kept.write_text(text[:-20])
    assert takeover.measure(1, 1, kept) == points
    assert kept.read_text() == text
    whole_row = {"mode": "on", "cell": "freeze", "safe": 2}
    later = {"mode": "on", "cell": "kill one", "safe": 400}  # nothing asks for a takeover there
    kept.write_text("\n".join(map(json.dumps, (whole_row, later, whole_row)))[:-4])
    assert takeover.own_times(kept) == {"freeze": 40.0}
