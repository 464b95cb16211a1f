# SPDX-License-Identifier: Apache-2.0
"""The adversarial samples that were found, as files: kept handful by handful, indexed, checked.

    DIR/PART/about.json      who was attacked (file, SHA-256), by what, within which threat
    DIR/PART/00025.npz       a handful: clean and attacked pictures, labels, what was reached
    DIR/corpus.json          every part with the SHA-256 of every file; a version of the whole

The version is a hash of pictures and labels: corpora with the same version hold the same samples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard import written
from edgeguard.errors import ConfigError, EdgeguardError
from edgeguard.figures import version
from edgeguard.lab.attacks.threat import Threat
from edgeguard.npz import read_npz

FORMAT = 1
ABOUT, INDEX = "about.json", "corpus.json"
EVERY = ("clean", "pixels", "y", "label", "hit", "size", "queries", "cpu_s")
"""Columns of a handful [N, ...]: pictures uint8 [N, C, H, W], the true label, the label that the
attacked picture got, whether that is what the attacker wants, the size of the change in the
threat's norm, the answers that were asked for, and the processor time in seconds."""
Array = npt.NDArray[Any]
Handful = Mapping[str, Array]


def about(model: Path, attack: str, threat: Threat) -> dict[str, Any]:
    """What a part is: who was attacked, by what, within which threat."""
    return {
        "model": model.name, "sha256": _sha256(model), "attack": attack, "threat": asdict(threat),
    }  # fmt: skip


def begin(folder: Path, about: Mapping[str, Any]) -> None:
    """Make the folder of a part. about: JSON; the same for every handful of it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / ABOUT, dict(about))


def kept(file: Path, clean: Array, y: Array) -> Handful | None:
    """A handful that is there, of these images [N, C, H, W] and labels [N], or their part of one
    that a longer run left; None: to be made."""
    try:
        row = read_npz(file)
    except ConfigError:
        return None
    if any(name not in row for name in EVERY):
        return None
    row = {name: column[: len(y)] for name, column in row.items()}
    same = np.array_equal(row["y"], y) and np.array_equal(row["clean"], clean)
    return row if same else None


def write(file: Path, row: Handful) -> None:
    """At once or not at all: a run may end at any time."""
    with written.whole(file) as made:
        np.savez_compressed(made, **row)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """The same for JSON."""
    written.text(file, json.dumps(content, indent=1) + "\n")


def joined(handfuls: Sequence[Handful]) -> dict[str, Array]:
    """Handfuls of one part as one."""
    return {name: np.concatenate([h[name] for h in handfuls]) for name in handfuls[0]}


def read(folder: Path, n: int | None = None) -> dict[str, Array]:
    """All handfuls of a part in their order, the first n images of them.

    Raises EdgeguardError for a part that has none, or whose files cannot be read.
    """
    handfuls = [read_npz(file) for file in sorted(folder.glob("*.npz"))]
    if not handfuls:
        raise EdgeguardError(f"{folder}: has no pictures; run `edgeguard lab attack` again")
    return {name: column[:n] for name, column in joined(handfuls).items()}


def counted(rows: Handful, n: int | None = None) -> Array:
    """Rows of a part that its figures count, the first n of them: of what was made on a float twin
    those that it reads rightly, else all."""
    right = rows.get("twin_right")
    return np.flatnonzero(np.ones(len(rows["y"])) if right is None else right)[:n]


def index(results: Path) -> dict[str, Any]:
    """Write DIR/corpus.json over all parts that are there; what it holds."""
    folders = [about.parent for about in sorted(results.rglob(ABOUT))]
    digest = hashlib.sha256()
    parts = [_part(results, f, digest.update) for f in folders if any(f.glob("*.npz"))]
    found: dict[str, Any] = {
        "format": FORMAT,
        "version": digest.hexdigest()[:12],
        "made_with": {p: version(p) for p in ("edgeguard-monitor", "torch", "onnxruntime")},
        "found": sum(part["found"] for part in parts),
        "parts": parts,
    }
    write_json(results / INDEX, found)
    return found


def _part(results: Path, folder: Path, add: Callable[[bytes], None]) -> dict[str, Any]:
    rows, name = read(folder), folder.relative_to(results).as_posix()
    for content in (name.encode(), *(rows[c].tobytes() for c in ("clean", "pixels", "y", "label"))):
        add(content)
    return {
        "part": name,
        **json.loads((folder / ABOUT).read_text(encoding="utf-8")),
        "n": len(rows["hit"]),
        "found": int(rows["hit"].sum()),
        "files": {f.name: _sha256(f) for f in sorted(folder.glob("*.npz"))},
    }


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def load(results: Path) -> dict[str, Any]:
    """DIR/corpus.json. Raises EdgeguardError that names the first file which is not the one that
    was indexed, or a format of another edgeguard."""
    file = results / INDEX
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        parts = found["parts"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EdgeguardError(f"{file}: is no index of a corpus: {error}") from None
    if found.get("format") != FORMAT:
        raise EdgeguardError(f"{file}: format {found.get('format')}; this edgeguard reads {FORMAT}")
    for part in parts:
        for name, wanted in part["files"].items():
            sample = results / part["part"] / name
            if not sample.is_file() or _sha256(sample) != wanted:
                raise EdgeguardError(
                    f"{sample}: is not the file that {INDEX} lists; run the attack again"
                )
    return found
