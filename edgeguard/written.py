# SPDX-License-Identifier: Apache-2.0
"""Files that a command writes: none of those that it reads, and whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from edgeguard.errors import EdgeguardError

DESCRIPTOR = re.compile(r"/dev/std(in|out|err)|/(?:dev|proc/self)/fd/([0-9]+)")
STREAMS = {"in": 0, "out": 1, "err": 2}
MOST_LINKS = 40  # as Linux follows them


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


def is_ordinary(path: Path) -> bool:
    """Whether it is a file, or will be one: no device, no pipe, nothing that is open already. Only
    then is there a place beside it."""
    return _descriptor(path) is None and (path.is_file() or not path.exists())


def text(path: Path, content: str) -> None:
    """Write a text, whole or not at all. Raises EdgeguardError where it cannot be written."""
    try:
        with whole(path) as file:
            file.write(content.encode())
    except BrokenPipeError:  # of a pipe whose reader left, which the command line tells apart
        raise
    except OSError as error:  # of a full disk, which names no file
        raise EdgeguardError(f"{path}: {error.strerror}") from None


def together(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together. Raises OSError; then none is new, none is cut."""
    with _all_whole(list(files)) as made:
        for file, data in zip(made, files.values(), strict=True):
            file.write(data)


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which gets the name when all of it was written. Until then what was there
    stays, and its mode after that. Raises OSError."""
    with _all_whole([path]) as (file,):
        yield file


@contextmanager
def _all_whole(paths: Sequence[Path]) -> Iterator[list[BinaryIO]]:
    places = [_place(path) for path in paths]
    parts = {place: _aside(place, "part") for place in places if place is not None}
    try:
        with ExitStack() as stack:
            yield [
                stack.enter_context(
                    _direct(path) if place is None else _synced(parts[place], place)
                )
                for path, place in zip(paths, places, strict=True)
            ]
        _swap(parts)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _place(path: Path) -> Path | None:
    """Where a file lies, through links. None for what can be written to but not be replaced: a
    device, a pipe, what is open already, and a file in a folder that takes no other."""
    if _descriptor(path) is not None:
        return None
    place = Path(os.path.realpath(path))
    try:
        mode = place.stat().st_mode
    except FileNotFoundError:
        return place
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
    if not os.access(place, os.W_OK):  # a swap would not ask
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
    return place if stat.S_ISREG(mode) and os.access(place.parent, os.W_OK) else None


def _descriptor(path: Path) -> int | None:
    """Which open file a name stands for, through links: another one in its place is not the one
    that is open, and one opened anew has lost its place in it."""
    step = os.path.abspath(path)
    for _ in range(MOST_LINKS):
        if found := DESCRIPTOR.fullmatch(step):
            return STREAMS[found[1]] if found[1] else int(found[2])
        if not os.path.islink(step):
            break
        folder = os.path.realpath(os.path.dirname(step))
        step = os.path.normpath(os.path.join(folder, os.readlink(step)))
    return None


def _aside(place: Path, ending: str) -> Path:
    """A name beside it that nobody has, nor looks for by its ending."""
    return place.with_name(f".{secrets.token_hex(8)}.{ending}")


@contextmanager
def _direct(path: Path) -> Iterator[BinaryIO]:
    number = _descriptor(path)
    with open(path if number is None else os.dup(number), "wb") as file:
        yield file


@contextmanager
def _synced(part: Path, place: Path) -> Iterator[BinaryIO]:
    """On the disk before it gets its name: else a power cut leaves an empty file there."""
    try:
        file = part.open("xb")
    except OSError as error:  # which names the part
        raise OSError(error.errno, error.strerror, str(place)) from None
    with file:
        _copy_mode(place, part)
        yield file
        file.flush()
        os.fsync(file.fileno())


def _copy_mode(place: Path, part: Path) -> None:
    """Where there are modes, and they are ours to set: not on FAT, nor on another's share."""
    with suppress(OSError):
        shutil.copymode(place, part)


def _swap(parts: Mapping[Path, Path]) -> None:
    """Give all of them their names, or none: of several, what had one of these before lies aside
    until then."""
    old = {place: _aside(place, "old") for place in parts} if len(parts) > 1 else {}
    try:
        for place, aside in old.items():
            _keep(place, aside)
        for place, part in parts.items():
            _take(part, place)
    except BaseException:  # an interrupt as well
        for place, aside in old.items():
            _undo(place, parts[place], aside)
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
        shutil.copyfile(place, aside)
        _copy_mode(place, aside)


def _take(part: Path, place: Path) -> None:
    try:
        os.replace(part, place)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        shutil.copyfile(part, place)  # mounted by itself, as containers do with single files
        part.unlink()


def _undo(place: Path, part: Path, aside: Path) -> None:
    if part.exists():  # it did not come to that
        aside.unlink(missing_ok=True)
    elif aside.exists():
        _take(aside, place)
    else:
        place.unlink(missing_ok=True)
