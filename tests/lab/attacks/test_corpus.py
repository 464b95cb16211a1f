# SPDX-License-Identifier: Apache-2.0
"""The corpus: kept whole or not at all, versioned by its samples, refused when it was altered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.errors import EdgeguardError
from edgeguard.lab.attacks import corpus
from edgeguard.lab.attacks.threat import Threat


def handful(seed: int, n: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (2, n, 3, 4, 4)).astype(np.uint8)
    return {
        "clean": pixels[0], "pixels": pixels[1], "y": np.arange(n), "label": np.arange(n) + 1,
        "hit": np.arange(n) > 0, "size": rng.random(n), "queries": np.zeros(n, np.int64),
        "cpu_s": rng.random(n),
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "m.onnx"
    model.write_bytes(b"a model")
    part = tmp_path / "m" / "pgd"
    corpus.begin(part, corpus.about(model, "pgd", Threat("linf", 8 / 255)))
    corpus.write(part / "00000.npz", handful(0))
    corpus.write(part / "00025.npz", handful(1, 2))
    corpus.index(tmp_path)
    return tmp_path


def test_the_index_says_what_is_there(folder: Path) -> None:
    found = corpus.load(folder)
    (part,) = found["parts"]
    assert (part["part"], part["attack"], part["n"], part["found"]) == ("m/pgd", "pgd", 5, 3)
    assert part["threat"]["radius"] == 8 / 255
    assert found["found"] == 3
    rows = corpus.read(folder / "m" / "pgd", 4)
    np.testing.assert_array_equal(rows["pixels"][:3], handful(0)["pixels"])
    assert len(rows["y"]) == 4


def test_the_version_is_of_the_samples(folder: Path) -> None:
    """The same pictures made in another time have it; one other pixel has another."""
    version = corpus.load(folder)["version"]
    same = handful(0)
    same["cpu_s"] = same["cpu_s"] * 2
    corpus.write(folder / "m" / "pgd" / "00000.npz", same)
    assert corpus.index(folder)["version"] == version
    same["pixels"][0, 0, 0, 0] ^= 1
    corpus.write(folder / "m" / "pgd" / "00000.npz", same)
    assert corpus.index(folder)["version"] != version


@pytest.mark.parametrize("harm", ["alter", "remove"])
def test_an_altered_or_missing_sample_is_named(folder: Path, harm: str) -> None:
    file = folder / "m" / "pgd" / "00025.npz"
    if harm == "alter":
        corpus.write(file, handful(2, 2))
    else:
        file.unlink()
    with pytest.raises(EdgeguardError, match=r"00025\.npz: is not the file that corpus\.json"):
        corpus.load(folder)


def test_a_corpus_of_another_format_is_refused(folder: Path) -> None:
    index = folder / corpus.INDEX
    content = json.loads(index.read_text())
    index.write_text(json.dumps({**content, "format": corpus.FORMAT + 1}))
    with pytest.raises(EdgeguardError, match="format 2; this edgeguard reads 1"):
        corpus.load(folder)
    index.write_text("[]")
    with pytest.raises(EdgeguardError, match="is no index of a corpus"):
        corpus.load(folder)


def test_only_whole_handfuls_of_the_same_images_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "00000.npz"
    row = handful(0)
    assert corpus.kept(file, row["clean"], row["y"]) is None
    corpus.write(file, row)
    again = corpus.kept(file, row["clean"], row["y"])
    assert again is not None
    np.testing.assert_array_equal(again["pixels"], row["pixels"])
    assert corpus.kept(file, row["clean"], row["y"] + 1) is None
    assert corpus.kept(file, row["clean"] ^ 1, row["y"]) is None  # other pictures, same labels
    corpus.write(file, {name: column for name, column in row.items() if name != "clean"})
    assert corpus.kept(file, row["clean"], row["y"]) is None  # of an older edgeguard
    file.write_bytes(file.read_bytes()[:-9])
    assert corpus.kept(file, row["clean"], row["y"]) is None
    with pytest.raises(EdgeguardError, match="cannot be read"):
        corpus.read(tmp_path)


def test_a_shorter_run_takes_its_part_of_what_a_longer_one_left(tmp_path: Path) -> None:
    file, row = tmp_path / "00000.npz", handful(0, 5)
    corpus.write(file, row)
    part = corpus.kept(file, row["clean"][:3], row["y"][:3])
    assert part is not None
    assert set(part) == set(row)
    for name, column in part.items():
        np.testing.assert_array_equal(column, row[name][:3])
    assert corpus.kept(file, row["clean"][1:4], row["y"][1:4]) is None
    longer = handful(0, 5)
    corpus.write(file, {name: column[:3] for name, column in longer.items()})
    assert corpus.kept(file, longer["clean"], longer["y"]) is None
