# SPDX-License-Identifier: Apache-2.0
"""Public keys that somebody put on this machine, and what each may vouch for.

A key file is one line: `ed25519 BASE64 [bundle=NAME]`. With `bundle=` the key vouches for bundles
of that name alone. Several files in a folder are several keys: add the new one, sign with it, take
the old one away.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from edgeguard.errors import BundleRefused

if TYPE_CHECKING:
    from edgeguard.bundle.file import Manifest

SYSTEM = Path("/etc/edgeguard/keys")
SUFFIX = ".pub"


@frozen
class Key:
    """An Ed25519 public key."""

    raw: bytes
    only: str | None = None
    """The one bundle name that it may vouch for."""

    @property
    def id(self) -> str:
        """What manifests call it: the first 16 hex digits of its SHA-256."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    @property
    def said(self) -> str:
        """Its id, and what it is limited to."""
        return self.id if self.only is None else f"{self.id} for {self.only} alone"

    def line(self) -> str:
        """As a key file."""
        only = f" bundle={self.only}" if self.only else ""
        return f"ed25519 {base64.b64encode(self.raw).decode()}{only}\n"


def read_key(path: Path) -> Key:
    """Raises BundleRefused, which names the file."""
    try:
        words = path.read_text(encoding="ascii").split()
    except OSError as error:
        raise BundleRefused(f"{path}: key cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        words = []
    only = words[2].removeprefix("bundle=") if len(words) == 3 else None
    known = 2 <= len(words) <= 3 and words[0] == "ed25519" and only != ""
    try:
        raw = base64.b64decode(words[1], validate=True) if known else b""
    except ValueError:
        raw = b""
    if len(raw) != 32 or (len(words) == 3 and not words[2].startswith("bundle=")):
        raise BundleRefused(f"{path}: is no key; want one line: ed25519 BASE64 [bundle=NAME]")
    return Key(raw, only)


@frozen
class Trust:
    """The keys that count."""

    keys: tuple[Key, ...]

    @classmethod
    def of(cls, places: Iterable[Path]) -> Trust:
        """From key files and folders of them. Raises BundleRefused, also for ``Path(".")``: it
        cannot be told from ``Path("")``, an unset variable, which would trust whatever key lies in
        the working directory. That one is named by its whole path."""
        keys = []
        for place in places:
            if place == Path():
                raise BundleRefused(
                    "trust: names no key (an empty name?); want KEY.pub or a folder of keys; the"
                    " working directory is named by its whole path"
                )
            files = sorted(place.glob(f"*{SUFFIX}")) if place.is_dir() else [place]
            if not files and place != SYSTEM:
                raise BundleRefused(f"trust: {place}: holds no key (*{SUFFIX})")
            keys += [read_key(file) for file in files]
        return cls(tuple(keys))

    @classmethod
    def of_machine(cls, given: Iterable[Path] = ()) -> Trust:
        """Those given, or else those of /etc/edgeguard/keys; and the demo's, for the demo alone."""
        from edgeguard.zoo import models_dir

        places = list(given) or ([SYSTEM] if SYSTEM.is_dir() else [])
        demo = models_dir() / "demo.pub"
        return cls.of([*places, *([demo] if demo.is_file() else [])])

    def check(self, name: str, manifest: Manifest, signed: bytes, signature: bytes) -> None:
        """Raises BundleRefused unless one of the keys signed this and may vouch for it."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        found = [key for key in self.keys if key.id == manifest.key]
        if not found:
            known = ", ".join(key.said for key in self.keys) or "none"
            raise BundleRefused(
                f"{name}: signed with key {manifest.key}, which is not trusted here (trusted:"
                f" {known}); give its public key with --trust, or put it into {SYSTEM}"
            )
        why = "manifest: was changed after it was signed"
        for key in found:  # the same key may lie here twice, for other names
            try:
                Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, signed)
            except (InvalidSignature, ValueError):
                continue
            if key.only is None or key.only == manifest.name:
                return
            why = f"key {key.id} vouches for bundles named {key.only!r} alone, not"
            why += f" {manifest.name!r}"
        raise BundleRefused(f"{name}: {why}")
