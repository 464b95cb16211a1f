# SPDX-License-Identifier: Apache-2.0
"""Files that a command writes: none of those that it reads, and whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgeguard.errors import EdgeguardError

DESCRIPTORS = ("/dev/fd/", "/dev/std", "/proc/")
"""Such a name may lead to an ordinary file; a new one in its place is not the one that is open."""


def apart(option: str, path: Path | None, *read: Path | None) -> None:
    """Raises EdgeguardError when the file to write is one of those that are read, by whatever name:
    a policy or a log would be lost. None: is not asked for."""
    if path is None or not path.is_file():
        return
    for one in read:
        if one is not None and os.path.isfile(one) and path.samefile(one):
            raise EdgeguardError(f"{option} {path}: is read here, and would be lost; name another")


def folder(option: str, path: Path) -> None:
    """Make a folder that is named by an option, before work that ends in it. Raises
    EdgeguardError where there can be none."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgeguardError(f"{option} {path}: no folder can be made: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise EdgeguardError(f"{option} {path}: nothing may be written there")


def text(path: Path, content: str) -> None:
    """Write a text, whole or not at all. Raises EdgeguardError where it cannot be written."""
    try:
        with whole(path) as made:
            made.write_text(content, encoding="utf-8")
    except BrokenPipeError:  # of a pipe whose reader left, which the command line tells apart
        raise
    except OSError as error:  # of a full disk, which names no file
        raise EdgeguardError(f"{path}: {error.strerror}") from None


def together(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together. Raises OSError; then none is new, none is cut."""
    with _all_whole(list(files)) as made:
        for name, data in zip(made, files.values(), strict=True):
            name.write_bytes(data)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write to, with the same ending; the file gets its own when all of it was written.
    Until then what was there stays, and its mode after that. Raises OSError."""
    with _all_whole([path]) as (made,):
        yield made


@contextmanager
def _all_whole(paths: Sequence[Path]) -> Iterator[list[Path]]:
    places = [_place(path) for path in paths]
    parts = {place: _unused(place) for place in places if place is not None}
    try:
        for place, part in parts.items():
            _begin(part, place)
        yield [
            path if place is None else parts[place]
            for path, place in zip(paths, places, strict=True)
        ]
        for part in parts.values():
            _sync(part)
        _swap(parts)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _place(path: Path) -> Path | None:
    """Where a file lies, through links. None for what can be written to but not be replaced: a
    device, a pipe, what is open already, and a file in a folder that takes no other."""
    if os.path.abspath(path).startswith(DESCRIPTORS):
        return None
    place = Path(os.path.realpath(path))
    try:
        mode = place.stat().st_mode
    except FileNotFoundError:
        return place
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(21, "Is a directory", str(path))
    if not os.access(place, os.W_OK):  # a swap would not ask
        raise PermissionError(13, "Permission denied", str(path))
    return place if stat.S_ISREG(mode) and os.access(place.parent, os.W_OK) else None


def _unused(place: Path) -> Path:
    """A name beside it that nobody has."""
    return place.with_name(f".{secrets.token_hex(8)}{place.suffix}")


def _begin(part: Path, place: Path) -> None:
    try:
        part.open("xb").close()
        if place.exists():
            shutil.copymode(place, part)
    except OSError as error:  # which names the part
        raise OSError(error.errno, error.strerror, str(place)) from None


def _sync(part: Path) -> None:
    """On the disk before it gets its name: else a power cut leaves an empty file there."""
    with part.open("rb") as file:
        os.fsync(file.fileno())


def _swap(parts: Mapping[Path, Path]) -> None:
    """Give all of them their names, or none: what had one of these before lies aside until then."""
    old = {place: _unused(place) for place in parts}
    try:
        for place, aside in old.items():
            _keep(place, aside)
        for place, part in parts.items():
            os.replace(part, place)
    except BaseException:  # an interrupt as well
        _undo(parts, old)
        raise
    for aside in old.values():
        aside.unlink(missing_ok=True)


def _keep(place: Path, aside: Path) -> None:
    """A second name for what is there; a copy where a file has but one name, as on FAT."""
    if not place.exists():
        return
    try:
        os.link(place, aside)
    except OSError:
        shutil.copy2(place, aside)


def _undo(parts: Mapping[Path, Path], old: Mapping[Path, Path]) -> None:
    for place, part in parts.items():
        if part.exists():  # it did not come to that
            old[place].unlink(missing_ok=True)
        elif old[place].exists():
            os.replace(old[place], place)
        else:
            place.unlink(missing_ok=True)
