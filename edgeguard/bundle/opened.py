# SPDX-License-Identifier: Apache-2.0
"""A verified bundle, laid out in a private folder for as long as the guard needs its files."""

from __future__ import annotations

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
    _away: weakref.finalize = field(init=False)  # type: ignore[type-arg]

    def __attrs_post_init__(self) -> None:
        self._away = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    @property
    def policy(self) -> Path:
        return self.folder / self.manifest.policy

    def armed(self) -> None:
        """From now on older versions are refused. Raises BundleRefused."""
        if self.signed:
            state.remember(self.state, self.manifest.name, self.manifest.version)

    def close(self) -> None:
        """Take the files away; happens by itself at the latest when the process ends."""
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
    made = Path(tempfile.mkdtemp(prefix="edgeguard-bundle-"))  # 0700
    opened = Opened(path, manifest, made, not unsigned, folder)
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
