# SPDX-License-Identifier: Apache-2.0
"""A verified bundle, laid out in a private folder for as long as the guard needs its files.

The process holds a lock on the folder. What a process that was killed has left there has none, and
the next bundle that is opened takes it away.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

from attrs import define, field

from edgeguard.bundle import file, state
from edgeguard.bundle.file import Manifest
from edgeguard.bundle.trust import Trust
from edgeguard.errors import BundleRefused

PREFIX = "edgeguard-opened-"  # versions that held no lock had another one


@define(eq=False, weakref_slot=True)
class Opened:
    """`policy` is the guard.toml to load; `close` takes the folder away."""

    path: Path
    """The bundle itself: what belongs to the machine lies beside it."""
    manifest: Manifest
    folder: Path
    signed: bool
    """False: somebody said that an unsigned one will do; it stays visible."""
    state: Path
    _lock: int
    _away: weakref.finalize = field(init=False)  # type: ignore[type-arg]

    def __attrs_post_init__(self) -> None:
        self._away = weakref.finalize(self, _clear, self.folder, self._lock)

    @property
    def policy(self) -> Path:
        return self.folder / self.manifest.policy

    def armed(self) -> None:
        """From now on older versions are refused. Raises BundleRefused."""
        if self.signed:
            state.remember(self.state, self.manifest.name, self.manifest.version)

    def close(self) -> None:
        """Take the files away; happens by itself at the latest when the process ends in order."""
        self._away()


def open_bundle(
    path: Path, trust: Iterable[Path] = (), *, unsigned: bool = False, keep: Path | None = None
) -> Opened:
    """Verify and lay out. trust: key files or folders instead of /etc/edgeguard/keys; keep: the
    state folder. Raises BundleRefused, which names the part and the reason."""
    folder = keep or state.state_dir()
    keys = None if unsigned else Trust.of_machine(trust)
    manifest, contents = file.read(path, keys)
    if not unsigned:
        state.check(folder, str(path), manifest.name, manifest.version)
    try:
        _sweep(Path(tempfile.gettempdir()))
        made, lock = _private_folder()
    except OSError as error:
        raise BundleRefused(f"{path}: cannot be laid out: {error}; see TMPDIR") from None
    opened = Opened(path, manifest, made, not unsigned, folder, lock)
    try:
        for described, data in zip(manifest.parts, contents, strict=True):
            _lay_out(made / described.path, data)
    except OSError as error:
        opened.close()
        raise BundleRefused(f"{path}: {described.path}: cannot be laid out: {error}") from None
    return opened


def _lay_out(to: Path, data: bytes) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(data)
    to.chmod(0o400)


def _private_folder() -> tuple[Path, int]:
    """A new one (0700), and the lock on it."""
    while True:
        made = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            return made, _lock(made)
        except (FileNotFoundError, BlockingIOError):  # swept before it was locked
            continue


def _lock(folder: Path) -> int:
    """The descriptor that holds it: nobody else can, as nobody else may open it. Raises OSError:
    somebody has it, or it is no folder of ours, or is gone."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise PermissionError(f"{folder}: is another user's")
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(fd), os.lstat(folder)):
            raise FileNotFoundError(f"{folder}: is gone")
    except OSError:
        os.close(fd)
        raise
    return fd


def _sweep(temporary: Path) -> None:
    """Take away what processes of ours have left that did not end in order."""
    for left in list(temporary.glob(f"{PREFIX}*")):
        try:
            lock = _lock(left)
        except OSError:  # in use, or not ours
            continue
        _clear(left, lock)


def _clear(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)  # last: until then nobody else clears it
