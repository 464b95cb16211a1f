# SPDX-License-Identifier: Apache-2.0
"""TOML text from a file, with every failure as a ConfigError that names the line."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from edgeguard.config.lines import Lines
from edgeguard.errors import ConfigError

# The same parser under two names.
tomllib: Any = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

MOST_BYTES = 1 << 20

_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_LONG_NUMBER = re.compile(r"\d{1000}")


def read(path: Path) -> tuple[dict[str, Any], Lines]:
    """The tables of a TOML file and the line of each key; raises ConfigError."""
    return decoded(content(path), path)


def content(path: Path) -> bytes:
    """The bytes of a TOML file, for `decoded`; raises ConfigError."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{path}: {reason[:1].lower()}{reason[1:]}") from None
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{path}: larger than 1 MiB; this is no configuration")
    return raw


def decoded(raw: bytes, path: Path) -> tuple[dict[str, Any], Lines]:
    """As `read`, from the bytes that `content` found."""
    if b"\0" in raw:
        raise ConfigError(f"{path}: is no text file, and so no TOML")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None
    return parse(text, path), Lines(text)


def parse(text: str, path: Path) -> dict[str, Any]:
    """Parse TOML text; raises ConfigError with the line of the first mistake."""
    try:
        tables: dict[str, Any] = tomllib.loads(text)
        return tables
    except RecursionError:
        raise ConfigError(f"{path}:1: nested too deeply; this is no configuration") from None
    except ValueError as error:
        message = str(error)
        found = _POSITION.search(message)
        if found is None:  # a number with thousands of digits is a plain ValueError
            long = _LONG_NUMBER.search(text)
            line = text.count("\n", 0, long.start()) + 1 if long else 1
            raise ConfigError(f"{path}:{line}: not valid TOML: number too long") from None
        line = int(found[1]) if found[1] else text.rstrip().count("\n") + 1
        what = message[: found.start()]
        advice = "; each key may stand once" if "overwrite" in what or "twice" in what else ""
        raise ConfigError(f"{path}:{line}: not valid TOML: {what}{advice}") from None
