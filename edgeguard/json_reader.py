# SPDX-License-Identifier: Apache-2.0
"""JSON that a person or a tool wrote, read key by key; errors name the file and the key."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import attrs

from edgeguard.errors import ConfigError


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
        return ConfigError(f"{self.where}: {self.prefix}{key}: {what}")

    def take(self, key: str, default: Any = attrs.NOTHING) -> Any:
        value = self.data.pop(key, None)
        if value is None:
            if default is attrs.NOTHING:
                raise self.error(key, "missing")
            return default
        return value

    def text(self, key: str, default: Any = attrs.NOTHING) -> str:
        value = self.take(key, default)
        if not isinstance(value, str):
            raise self.error(key, f"want text, got {value!r:.60}")
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: Any = attrs.NOTHING) -> str:
        value = self.text(key, default)
        if value not in allowed:
            raise self.error(key, f"{value!r} is not one of {', '.join(allowed)}")
        return value

    def digest(self, key: str) -> str:
        value = self.text(key).lower()
        if len(value) != 64 or any(c not in "0123456789abcdef" for c in value):
            raise self.error(key, "want a SHA-256 as 64 hex digits")
        return value

    def number(self, key: str, default: Any = attrs.NOTHING, above: float = -math.inf) -> float:
        return _number(self, key, self.take(key, default), above)

    def integer(self, key: str, default: Any = attrs.NOTHING, low: int = 0) -> int:
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise self.error(key, f"want an integer of at least {low}, got {value!r:.60}")
        return value

    def optional_integer(self, key: str) -> int | None:
        return self.integer(key) if self.data.get(key) is not None else None

    def numbers(self, key: str, default: Any = attrs.NOTHING) -> tuple[float, ...]:
        value = self.take(key, default)
        if not isinstance(value, (list, tuple)):
            raise self.error(key, f"want a list of numbers, got {value!r:.60}")
        return tuple(_number(self, key, v) for v in value)

    def table(self, key: str) -> JsonReader:
        return JsonReader(self.where, self.take(key), f"{self.prefix}{key}.")

    def tables(self, key: str) -> list[JsonReader]:
        value = self.take(key)
        if not isinstance(value, (list, tuple)) or not value:
            raise self.error(key, "want a list of at least one output")
        return [JsonReader(self.where, v, f"{self.prefix}{key}[{i}].") for i, v in enumerate(value)]

    def rest(self) -> dict[str, Any]:
        return self.data

    def done(self) -> None:
        for key in self.data:
            raise self.error(key, "unknown key")


def _number(reader: JsonReader, key: str, value: Any, above: float = -math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise reader.error(key, f"want a finite number, got {value!r:.60}")
    if not value > above:
        raise reader.error(key, f"want a number above {above:g}, got {value!r}")
    return float(value)


def read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    return data  # type: ignore[no-any-return]  # JsonReader checks that it is an object
