# SPDX-License-Identifier: Apache-2.0
"""JSON that a person or a tool wrote, read key by key; errors name the file and the key.

Every reading method takes a key off the object and raises ConfigError when it is missing, null
without a default, or not what the method's name says.
"""

from __future__ import annotations

import json
import math
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import attrs

from edgeguard.errors import ConfigError

MOST = 2**31 - 1  # no integer of a card has to be greater


class JsonReader:
    """One JSON object, read key by key; what was not asked for remains in ``rest()``."""

    def __init__(self, where: str, data: Any, prefix: str = "") -> None:
        self.where, self.prefix = where, prefix
        if not isinstance(data, dict):
            raise ConfigError(
                f"{where}: {prefix.rstrip('.') or 'the file'}: want an object, got {data!r:.60}"
            )
        self.data = dict(data)

    def error(self, key: str, what: str) -> ConfigError:
        """The error to raise over a key, with the file's name before it."""
        return ConfigError(f"{self.where}: {self.prefix}{key}: {what}")

    def take(self, key: str, default: Any = attrs.NOTHING) -> Any:
        """Whatever stands there; null counts as missing."""
        value = self.data.pop(key, None)
        if value is None:
            if default is attrs.NOTHING:
                raise self.error(key, "missing")
            return default
        return value

    def text(self, key: str, default: Any = attrs.NOTHING) -> str:
        """A string."""
        value = self.take(key, default)
        if not isinstance(value, str) or "\0" in value:  # NUL: no file has one in its name
            raise self.error(key, f"want text, got {value!r:.60}")
        return value

    def optional_text(self, key: str) -> str | None:
        """A string, or None where the key is missing or null."""
        return self.text(key) if self.data.get(key) is not None else None

    def choice(self, key: str, allowed: tuple[str, ...], default: Any = attrs.NOTHING) -> str:
        """One of the strings allowed."""
        value = self.text(key, default)
        if value not in allowed:
            raise self.error(key, f"{value!r} is not one of {', '.join(allowed)}")
        return value

    def digest(self, key: str) -> str:
        """A SHA-256 as 64 hex digits, returned in lower case."""
        value = self.text(key).lower()
        if len(value) != 64 or any(c not in "0123456789abcdef" for c in value):
            raise self.error(key, "want a SHA-256 as 64 hex digits")
        return value

    def number(self, key: str, default: Any = attrs.NOTHING, above: float = -math.inf) -> float:
        """A finite number greater than ``above``."""
        return _number(self, key, self.take(key, default), above)

    def integer(self, key: str, default: Any = attrs.NOTHING, low: int = 0) -> int:
        """An integer from ``low`` to MOST."""
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise self.error(key, f"want an integer of at least {low}, got {value!r:.60}")
        if value > MOST:
            raise self.error(key, f"want an integer of at most {MOST}, got {value!r:.60}")
        return value

    def optional_integer(self, key: str) -> int | None:
        """An integer from 0 to MOST, or None where the key is missing or null."""
        return self.integer(key) if self.data.get(key) is not None else None

    def numbers(self, key: str, default: Any = attrs.NOTHING) -> tuple[float, ...]:
        """A list of finite numbers."""
        value = self.take(key, default)
        if not isinstance(value, (list, tuple)):
            raise self.error(key, f"want a list of numbers, got {value!r:.60}")
        return tuple(_number(self, key, v) for v in value)

    def table(self, key: str) -> JsonReader:
        """A reader of the object that stands there."""
        return JsonReader(self.where, self.take(key), f"{self.prefix}{key}.")

    def tables(self, key: str) -> list[JsonReader]:
        """Readers of a list of at least one object."""
        value = self.take(key)
        if not isinstance(value, (list, tuple)) or not value:
            raise self.error(key, "want a list of at least one output")
        return [JsonReader(self.where, v, f"{self.prefix}{key}[{i}].") for i, v in enumerate(value)]

    def rest(self, known: tuple[str, ...]) -> dict[str, Any]:
        """What was not asked for; a key that is nearly one of ``known`` is an error."""
        for key in self.data:
            near = get_close_matches(key, known, n=1, cutoff=0.8)
            if near:
                raise self.error(key, f"unknown key; did you mean {near[0]}?")
        return self.data

    def done(self) -> None:
        """Raise ConfigError if something was not asked for."""
        for key in self.data:
            raise self.error(key, "unknown key")


def _number(reader: JsonReader, key: str, value: Any, above: float = -math.inf) -> float:
    try:
        good = not isinstance(value, bool) and math.isfinite(value)
    except (TypeError, OverflowError):  # no number, or an integer beyond every float
        good = False
    if not good:
        raise reader.error(key, f"want a finite number, got {value!r:.60}")
    if not value > above:
        raise reader.error(key, f"want a number above {above:g}, got {value!r:.60}")
    return float(value)


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file. Raises ConfigError that names the file and what is wrong."""
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: also thousands of digits
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return data  # type: ignore[no-any-return]  # JsonReader checks that it is an object
