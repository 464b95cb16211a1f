# SPDX-License-Identifier: Apache-2.0
"""Files that a command writes, held against those that it reads."""

from __future__ import annotations

import os
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
