# SPDX-License-Identifier: Apache-2.0
"""Files that only their owner may read: keys, and what is built with them.

Of the standard library alone: `make` seals the firmware with whatever Python there is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


def write_secret(path: Path, data: bytes, *, new: bool = False) -> None:
    """A file of mode 0600, whole or not at all, instead of what is there; ``new``: of nothing.

    Raises OSError: FileExistsError where something is there and must not be, and for what is no
    regular file, as a link or a device: neither its mode nor its content is ours to change.
    """
    try:
        if not new:
            _refuse_strange(path)
        with _beside(path, data) as aside:
            (os.link if new else os.replace)(aside, path)
    except OSError as error:  # which names the file aside
        raise OSError(error.errno, error.strerror, str(path)) from None


def _refuse_strange(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise OSError(errno.EINVAL, "is no regular file, so it keeps no secret; name another")


@contextlib.contextmanager
def _beside(path: Path, data: bytes) -> Iterator[str]:
    """The name of a new file with it that is on the disk, and gone afterwards."""
    handle, name = tempfile.mkstemp(prefix=".edgeguard-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever the umask took away
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield name
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
