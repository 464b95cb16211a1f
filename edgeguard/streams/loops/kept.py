# SPDX-License-Identifier: Apache-2.0
"""What is kept of drives: under a name that changes with whatever it was made with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
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
