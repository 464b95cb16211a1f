# SPDX-License-Identifier: Apache-2.0
"""Where a user's own files are, unless he says otherwise (XDG base directories)."""

from __future__ import annotations

import os
from pathlib import Path

from edgeguard.errors import EdgeguardError

CONFIG = "XDG_CONFIG_HOME", ".config"
STATE = "XDG_STATE_HOME", ".local/state"


def home(place: tuple[str, str]) -> Path:
    """Ours in one of these places; never in a repository. Raises EdgeguardError where nobody says
    where that is, as in a service without HOME."""
    variable, otherwise = place
    try:
        base = os.environ.get(variable) or Path.home() / otherwise
    except RuntimeError:
        raise EdgeguardError(
            f"no home directory for keys and state; set HOME or {variable}, or name a file"
        ) from None
    return Path(base) / "edgeguard"
