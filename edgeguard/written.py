# SPDX-License-Identifier: Apache-2.0
"""Files that a command writes: none of those that it reads, and whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgeguard.errors import EdgeguardError


def apart(option: str, path: Path | None, *read: Path | None) -> None:
    """Raises EdgeguardError when the file to write is one of those that are read, by whatever name:
    a policy or a log would be lost. None: is not asked for."""
    if path is None or not path.is_file():
        return
    for one in read:
        if one is not None and os.path.isfile(one) and path.samefile(one):
            raise EdgeguardError(f"{option} {path}: is read here, and would be lost; name another")


def together(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together, the last one last: all of them aside first, since a disk
    that is full must not cost what was there. Raises OSError; then none is new, none is cut."""
    places = {Path(os.path.realpath(path)): data for path, data in files.items()}  # through links
    for path in places:
        if path.is_dir():
            raise IsADirectoryError(21, "Is a directory", str(path))
    parts = {path.with_name(path.name + ".part"): path for path in places}
    new = [path for path in places if not path.exists()]
    try:
        for part, path in parts.items():
            _synced(part, places[path])
        for part, path in parts.items():
            os.replace(part, path)
    except BaseException:  # an interrupt as well
        for path in new:
            path.unlink(missing_ok=True)
        raise
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _synced(path: Path, data: bytes) -> None:
    """On the disk before it gets its name: else a power cut leaves an empty file there."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
