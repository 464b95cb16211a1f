# SPDX-License-Identifier: Apache-2.0
"""The two secrets of a microcontroller: one proves frames, the other that a person agrees."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import stat
from pathlib import Path

from attrs import field, frozen

from edgeguard.errors import EdgeguardError
from edgeguard.places import CONFIG, home
from firmware_bridge.secret import write_secret

KEY_BYTES = 16
_HEX = re.compile(r"[0-9a-fA-F]{32}")
_FIELDS = ("link_key", "operator_key")


@frozen
class Keys:
    """Never shown: neither in a repr nor in an error."""

    link: bytes = field(repr=False)
    operator: bytes = field(repr=False)


def make_keys() -> Keys:
    """New keys from the system's randomness."""
    return Keys(secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES))


def create(path: Path) -> Keys:
    """New keys in a new file that only its owner may read. Raises EdgeguardError if it exists."""
    try:
        return _create(path)
    except FileExistsError:
        raise EdgeguardError(f"{path}: exists; keys are never overwritten") from None


def _create(path: Path) -> Keys:
    """Raises FileExistsError, which is no error when two begin at once."""
    keys = make_keys()
    text = json.dumps({"link_key": keys.link.hex(), "operator_key": keys.operator.hex()}, indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_secret(path, f"{text}\n".encode(), new=True)
    except FileExistsError:
        raise
    except OSError as error:
        raise EdgeguardError(f"{path}: {error.strerror}") from None
    return keys


def load(path: Path) -> Keys:
    """Read a key file. Raises EdgeguardError when others may read it or it holds no keys."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as file:
            _check_private(path, os.fstat(file.fileno()).st_mode)
            raw = json.loads(file.read(4096))
    except OSError as error:
        raise EdgeguardError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise EdgeguardError(f"{path}: is no JSON") from None
    return _keys(path, raw)


def _check_private(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise EdgeguardError(f"{path}: is no regular file, so it holds no keys; name another")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise EdgeguardError(
            f"{path}: others than its owner may use it (mode {stat.S_IMODE(mode):03o});"
            f" chmod 600 {path}, and make new keys if somebody did"
        )


def _keys(path: Path, raw: object) -> Keys:
    if not isinstance(raw, dict) or set(raw) != set(_FIELDS):
        raise EdgeguardError(f"{path}: want the keys {' and '.join(_FIELDS)}, and no other")
    for name in _FIELDS:
        if not isinstance(raw[name], str) or not _HEX.fullmatch(raw[name]):
            raise EdgeguardError(f"{path}: {name}: want {2 * KEY_BYTES} hex digits")
    if raw["link_key"] == raw["operator_key"]:
        raise EdgeguardError(f"{path}: link_key and operator_key are the same; make two")
    return Keys(*(bytes.fromhex(raw[name]) for name in _FIELDS))


def ensure(path: Path) -> Keys:
    """The keys of this file, which is made if there is none. Raises EdgeguardError."""
    if not os.path.lexists(path):
        with contextlib.suppress(FileExistsError):  # another process was faster
            return _create(path)
    return load(path)


def default_path() -> Path:
    """Where the command line keeps them unless told otherwise. Raises EdgeguardError where there
    is no home."""
    return home(CONFIG) / "mcu-keys.json"
