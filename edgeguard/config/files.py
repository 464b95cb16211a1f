# SPDX-License-Identifier: Apache-2.0
"""Where the files named in a guard.toml lie."""

from __future__ import annotations

from pathlib import Path

from edgeguard.errors import ConfigError, EdgeguardError
from edgeguard.zoo import models_dir

PACKAGE = "package:"


def resolve(source: Path, text: str) -> Path:
    """A path as guard.toml `source` means it: relative to that file, or `package:ZOO/NAME`.

    Raises ConfigError for a zoo that is not installed.
    """
    if not text.startswith(PACKAGE):
        return source.parent / text
    zoo, _, name = text.removeprefix(PACKAGE).partition("/")
    try:
        return models_dir(zoo) / name
    except EdgeguardError as error:
        raise ConfigError(str(error)) from None
