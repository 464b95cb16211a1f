# SPDX-License-Identifier: Apache-2.0
"""The newest version of each bundle that was armed here: an older one is a step back, refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeguard.errors import BundleRefused
from edgeguard.locked import locked
from edgeguard.places import STATE, home

FILE = "bundle-versions.json"


def state_dir() -> Path:
    """$EDGEGUARD_STATE, else systemd's $STATE_DIRECTORY, else ~/.local/state/edgeguard. Raises
    EdgeguardError where there is no home."""
    named = os.environ.get("EDGEGUARD_STATE") or os.environ.get("STATE_DIRECTORY")
    if named:
        return Path(named.partition(":")[0])
    return home(STATE)


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """The file, while nobody else changes it."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f"{FILE}.lock"):
        yield folder / FILE


def _sync(folder: Path) -> None:
    """Names in a folder outlast a power cut once the folder itself is written."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def newest(folder: Path, name: str) -> int:
    """The newest version that was armed; 0: none. Raises BundleRefused when nobody can tell."""
    path = folder / FILE
    try:
        if not path.exists():
            return 0
        table = json.loads(path.read_text(encoding="utf-8"))
        version = table.get(name, 0)
        if type(version) is not int or version < 0:
            raise ValueError(f"{name}: {version!r} is no version")
        return version
    except (OSError, ValueError, AttributeError) as error:
        raise BundleRefused(
            f"{path}: cannot be read, so nobody knows which version ran last: {error}"
        ) from None


def check(folder: Path, bundle: str, name: str, version: int) -> None:
    """Raises BundleRefused for an older version than ran here."""
    known = newest(folder, name)
    if version < known:
        raise BundleRefused(
            f"{bundle}: version {version} of {name!r} is older than {known}, which ran here"
            f" ({folder / FILE})"
        )


def remember(folder: Path, name: str, version: int) -> None:
    """This version was armed. Raises BundleRefused when that cannot be kept, and when a newer
    one was armed since this one was checked."""
    try:
        with _locked(folder) as path:
            check(folder, "armed too late", name, version)
            if version == newest(folder, name):
                return
            table = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            table[name] = version
            fresh = path.with_suffix(".new")
            with fresh.open("w", encoding="utf-8") as file:
                json.dump(table, file, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            _sync(folder)  # a power cut must not bring the older table back
    except OSError as error:
        where = error.filename or folder / FILE
        raise BundleRefused(f"{where}: cannot be written: {error.strerror}") from None
