# SPDX-License-Identifier: Apache-2.0
"""What is kept of drives: under a name that changes with whatever it was made with, and whole or
not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeguard.figures import version
from edgeguard.provenance import key_of

GAME = ("gymnasium", "box2d", "pygame", "pygame-ce", "numpy")
NETWORKS = ("onnxruntime", "ai-edge-litert", "torch")
"""Packages that drives depend on: all, and those by networks."""


def key(files: Iterable[Path], packages: Iterable[str]) -> str:
    """12 hex digits of all sources, these files, and the versions of these packages."""
    said = [key_of(files), *(f"{package} {version(package)}" for package in packages)]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:12]


def of_policy(policy: Path, but: str = "") -> str:
    """The key of drives with a policy: of it, and of the cards, models and patches that lie beside
    it, but for the file of that name."""
    files = [f for f in sorted(policy.parent.iterdir()) if f.is_file() and f.name != but]
    return key(files, (*GAME, *NETWORKS))


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write to; the file gets its own when all of it was written."""
    made = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield made
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)
