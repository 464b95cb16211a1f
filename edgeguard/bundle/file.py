# SPDX-License-Identifier: Apache-2.0
"""The container: magic, canonical manifest, Ed25519 signature, then the parts one after another.

    8 bytes   EGBNDL1\\n
    4 bytes   length of the manifest, little endian
    n bytes   manifest: JSON, sorted keys, no spaces, UTF-8
    64 bytes  Ed25519 signature (RFC 8032) of everything before it
    ...       the parts in the order of the manifest, end to end, and nothing after them

Every byte is either compared, signed, the signature itself, or hashed by what is signed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from attrs import frozen

from edgeguard.errors import BundleRefused
from edgeguard.written import whole

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from edgeguard.bundle.trust import Trust

SUFFIX = ".egb"
MAGIC = b"EGBNDL1\n"
FORMAT = 1
SIGNATURE = 64
MOST_MANIFEST = 4 << 20
MOST_PART = 1 << 31
MOST_VERSION = 2**53  # what JSON holds exactly everywhere


@frozen
class Part:
    """One file of a bundle."""

    path: str
    """Relative, with forward slashes."""
    kind: str
    """policy, model, card, golden, labels, calibration, detector, results."""
    sha256: str
    size: int


@frozen
class Manifest:
    """What is signed."""

    name: str
    version: int
    """Rises; a machine that ran a newer one refuses this."""
    policy: str
    """The part that is the guard.toml."""
    key: str
    """Id of the key that signed it."""
    parts: tuple[Part, ...]
    about: Mapping[str, Any]
    """Training inputs' hashes, tool versions, seeds, date: for people and for audits."""

    def canonical(self) -> bytes:
        """The bytes that are signed, the same on every machine."""
        table = {
            "format": FORMAT, "name": self.name, "version": self.version, "policy": self.policy,
            "key": self.key, "about": dict(self.about),
            "parts": [
                {"path": p.path, "kind": p.kind, "sha256": p.sha256, "size": p.size}
                for p in self.parts
            ],
        }  # fmt: skip
        return json.dumps(table, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def part(path: str, kind: str, data: bytes) -> Part:
    """Describe a file."""
    return Part(path, kind, hashlib.sha256(data).hexdigest(), len(data))


def write(to: Path, manifest: Manifest, contents: Sequence[bytes], key: Ed25519PrivateKey) -> None:
    """Sign and write, whole or not at all; contents in the order of the manifest's parts. Raises
    OSError."""
    for described, data in zip(manifest.parts, contents, strict=True):
        assert part(described.path, described.kind, data) == described
    text = manifest.canonical()
    head = MAGIC + len(text).to_bytes(4, "little") + text
    with whole(to) as file:
        file.write(b"".join([head, key.sign(head), *contents]))


def read(path: Path, trust: Trust | None) -> tuple[Manifest, list[bytes]]:
    """Verify all of it. trust: None leaves the signature unchecked, the hashes not.

    Raises BundleRefused, which names the file, the part and the reason.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleRefused(f"{path}: {(error.strerror or str(error)).lower()}") from None
    return verify(str(path), data, trust)


def verify(name: str, data: bytes, trust: Trust | None) -> tuple[Manifest, list[bytes]]:
    """The same for bytes."""
    end = len(MAGIC) + 4
    if data[: len(MAGIC)] != MAGIC:
        raise BundleRefused(f"{name}: is no bundle: does not begin with {MAGIC!r}")
    size = int.from_bytes(data[len(MAGIC) : end], "little")
    if size > MOST_MANIFEST or end + size + SIGNATURE > len(data):
        raise BundleRefused(f"{name}: manifest: cut short")
    head, text = data[: end + size], data[end : end + size]
    signature = data[end + size : end + size + SIGNATURE]
    manifest = parse(name, text)
    if trust is not None:
        trust.check(name, manifest, head, signature)
    return manifest, _contents(name, manifest, data, end + size + SIGNATURE)


def _contents(name: str, manifest: Manifest, data: bytes, at: int) -> list[bytes]:
    found = []
    for described in manifest.parts:
        piece = data[at : at + described.size]
        if len(piece) != described.size:
            raise BundleRefused(f"{name}: {described.path}: missing, or cut short")
        if hashlib.sha256(piece).hexdigest() != described.sha256:
            raise BundleRefused(
                f"{name}: {described.path}: is not the file that was signed (other SHA-256)"
            )
        found.append(piece)
        at += described.size
    if at != len(data):
        raise BundleRefused(f"{name}: {len(data) - at} bytes behind the last part")
    return found


def parse(name: str, text: bytes) -> Manifest:
    """A manifest from its bytes; only the canonical form is one."""
    try:
        table = json.loads(text)
        if table["format"] != FORMAT:
            raise BundleRefused(f"{name}: manifest: format {table['format']!r}, not {FORMAT}")
        manifest = Manifest(
            name=_word(table["name"]),
            version=_whole(table["version"], 1, MOST_VERSION),
            policy=_text(table["policy"]),
            key=_text(table["key"]),
            parts=tuple(_part(row) for row in table["parts"]),
            about=dict(table["about"]),
        )
        canonical = manifest.canonical()
    except BundleRefused:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleRefused(f"{name}: manifest: cannot be read: {error}") from None
    if canonical != text:
        raise BundleRefused(f"{name}: manifest: not in canonical form")
    paths = [p.path for p in manifest.parts]
    if len(set(paths)) != len(paths) or manifest.policy not in paths:
        raise BundleRefused(f"{name}: manifest: a part is named twice, or the policy is missing")
    return manifest


def _part(row: Mapping[str, Any]) -> Part:
    path = _text(row["path"])
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or str(pure) != path or "\\" in path:
        raise ValueError(f"path {path!r} leads out of the bundle")
    return Part(path, _text(row["kind"]), _text(row["sha256"]), _whole(row["size"], 0, MOST_PART))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{value!r} is no text")
    return value


def one_word(text: str) -> bool:
    """Whether a bundle can be called this: a key file names it, and a terminal shows it."""
    return text.isascii() and text.isprintable() and text.split() == [text]


def _word(value: object) -> str:
    if not isinstance(value, str) or not one_word(value):
        raise ValueError(f"{value!r} is no name; want one word of printable ASCII without spaces")
    return value


def _whole(value: object, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{value!r} is no number from {low} to {high}")
    return value
