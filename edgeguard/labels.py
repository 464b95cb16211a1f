# SPDX-License-Identifier: Apache-2.0
"""Files of class names, in the order of a model's scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeguard.errors import ConfigError


def read_labels(file: Path) -> tuple[str, ...]:
    """Names from lines of text, a JSON list, or a JSON object keyed by class number.

    Raises ConfigError that names the file: unreadable, no such list, an empty or unprintable name.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: cannot be read: not UTF-8 text") from None
    except ValueError as error:  # a name that no file can have
        raise ConfigError(f"{str(file)!r}: cannot be read: {error}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    names = _json(file, text) if file.suffix == ".json" else text.rstrip().splitlines()
    names = [name.strip() for name in names]
    if not names or not all(name and name.isprintable() for name in names):
        raise ConfigError(f"{file}: an empty or unprintable label; every score needs a name")
    return tuple(names)


def _json(file: Path, text: str) -> list[str]:
    try:
        data: Any = json.loads(text)
        if isinstance(data, dict):
            data = [data[str(i)] for i in range(len(data))]
    except KeyError as error:
        raise ConfigError(f"{file}: is no list of labels: has no class {error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: is no list of labels: {error}") from None
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        raise ConfigError(f"{file}: is no list of labels")
    return data
