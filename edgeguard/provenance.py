# SPDX-License-Identifier: Apache-2.0
"""What results depend on, as one short key: results of other code are never continued."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

PACKAGES = ("edgeguard", "firmware_bridge")
SOURCES = (".py", ".toml", ".json", ".dbc", ".c", ".h")
"""Tables of defaults and the firmware's boards, too, which are in no native module."""


def key_of(files: Iterable[Path] = ()) -> str:
    """12 hex digits of all sources but the firmware's tests, all native modules, and these
    files."""
    here = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for package in PACKAGES:
        for source in sorted((here / package).rglob("*")):
            if source.suffix in SOURCES and "tests" not in source.parts[len(here.parts) :]:
                digest.update(source.read_bytes())
    for module in (_native("edgeguard"), _native("firmware_bridge")):
        for library in module:
            digest.update(library.read_bytes())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _native(package: str) -> list[Path]:
    """Its compiled modules, wherever the installation keeps them."""
    import importlib

    folders = importlib.import_module(package).__path__
    found = {f.name: f for folder in folders for f in Path(folder).glob("*.so")}
    return [found[name] for name in sorted(found)]
