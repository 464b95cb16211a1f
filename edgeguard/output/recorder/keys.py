# SPDX-License-Identifier: Apache-2.0
"""Who signs a log: a key that is replaced by its hash with every seal, so that an older one cannot
be had from it.

The key file holds the seed of the next log and the *lineage*: every log's public key, each signed
by the one before it. Only the first public key has to be known to whoever verifies.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import define, frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edgeguard.errors import EdgeguardError

NEXT_LOG = b"edgeguard log: next log"
NEXT_SEAL = b"edgeguard log: next seal"
VOUCH = b"edgeguard log: public key of the next log"


def default_path() -> Path:
    """Where the command line keeps the key unless told otherwise; never in a repository."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "edgeguard" / "log-key.json"


@frozen
class Link:
    """One log's public key, and the previous one's word for it (empty for the first)."""

    public: str
    signature: str


@define
class Signer:
    """The key of one log, from its first seal to its last."""

    _seed: bytes
    lineage: tuple[Link, ...]

    def sign(self, message: bytes) -> str:
        """Hex of the Ed25519 signature with the key that holds now."""
        return _private(self._seed).sign(message).hex()

    @property
    def following(self) -> str:
        """The public key of the next seal, in hex."""
        return _public(_hashed(NEXT_SEAL, self._seed))

    def evolve(self) -> None:
        """From now on the next key holds, and nobody can sign with the old one."""
        self._seed = _hashed(NEXT_SEAL, self._seed)


def begin(path: Path) -> Signer:
    """The key for one log; the file is made if there is none, and then holds the next one's.

    The first public key is written beside it, for whoever verifies. Raises EdgeguardError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_name(path.name + ".lock")):
            seed, lineage = _load(path) if path.exists() else _first(path)
            following = _hashed(NEXT_LOG, seed)
            public = _public(following)
            vouched = Link(public, _private(seed).sign(VOUCH + bytes.fromhex(public)).hex())
            _replace(path, following, (*lineage, vouched))
    except OSError as error:
        raise EdgeguardError(f"{path}: {error.strerror}") from None
    return Signer(seed, lineage)


def first_key(text: str) -> str:
    """The pinned public key: its 64 hex digits, or a file with them. Raises EdgeguardError."""
    given = text
    if not is_hex(text, 32):
        try:
            given = Path(text).read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "holds no key"
            raise EdgeguardError(f"{text}: {why}; want 64 hex digits or a .pub file") from None
    if not is_hex(given, 32):
        raise EdgeguardError(f"{text}: want the 64 hex digits of a public key")
    return given


def broken_link(lineage: tuple[Link, ...], pinned: str) -> str | None:
    """Why the pinned key does not vouch for the last one of the lineage, or None when it does."""
    if not lineage or lineage[0].public != pinned:
        return "signed by another key than the given one"
    for i, (before, after) in enumerate(pairwise(lineage), 1):
        if not signed(before.public, VOUCH + bytes.fromhex(after.public), after.signature):
            return f"key {i} of its lineage is not signed by the one before it"
    return None


def signed(public: str, message: bytes, signature: str) -> bool:
    """Whether this signature of the message is by that key, both in hex of small letters: there is
    one way to write each, so that no bit of a stored one can change unnoticed."""
    if not is_hex(public, 32) or not is_hex(signature, 64):
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def links(raw: Any) -> tuple[Link, ...]:
    """A lineage as it is stored. Raises ValueError when it is none."""
    if not isinstance(raw, list) or not raw:
        raise ValueError("want a list of keys")
    found = []
    for i, item in enumerate(raw):
        good = isinstance(item, list) and len(item) == 2
        if not good or not is_hex(item[0], 32) or not (is_hex(item[1], 64) or i == 0):
            raise ValueError(f"key {i} is none")
        found.append(Link(item[0], item[1]))
    return tuple(found)


def stored(lineage: tuple[Link, ...]) -> list[list[str]]:
    """The other way."""
    return [[link.public, link.signature] for link in lineage]


def is_hex(text: object, size: int) -> bool:
    """Whether this is so many bytes, in hex of small letters."""
    digits = "0123456789abcdef"
    return isinstance(text, str) and len(text) == 2 * size and all(c in digits for c in text)


def _hashed(purpose: bytes, seed: bytes) -> bytes:
    return hashlib.sha256(purpose + seed).digest()


def _private(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)


def _public(seed: bytes) -> str:
    return _private(seed).public_key().public_bytes_raw().hex()


def _first(path: Path) -> tuple[bytes, tuple[Link, ...]]:
    seed = secrets.token_bytes(32)
    public = _public(seed)
    path.with_suffix(".pub").write_text(public + "\n", encoding="ascii")
    return seed, (Link(public, ""),)


def _load(path: Path) -> tuple[bytes, tuple[Link, ...]]:
    with path.open(encoding="utf-8") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise EdgeguardError(
                f"{path}: others than its owner may use it (mode {stat.S_IMODE(mode):03o}); "
                f"chmod 600 {path}, and remove it if somebody did"
            )
        try:
            raw = json.load(file)
            seed, lineage = bytes.fromhex(raw["seed"]), links(raw["lineage"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise EdgeguardError(f"{path}: is no key file of the recorder") from None
    if _public(seed) != lineage[-1].public:
        raise EdgeguardError(f"{path}: seed and lineage do not belong together")
    return seed, lineage


def _replace(path: Path, seed: bytes, lineage: tuple[Link, ...]) -> None:
    """Write the new file, overwrite the old seed, and swap them."""
    new = path.with_name(path.name + ".new")
    text = json.dumps({"seed": seed.hex(), "lineage": stored(lineage)})
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    old = path.open("r+b") if path.exists() else None
    os.replace(new, path)
    if old is not None:
        with old:  # no longer has a name; its seed stands at its beginning
            old.write(bytes(128))
            old.flush()
            os.fsync(old.fileno())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two recorders that begin at once get different keys."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
