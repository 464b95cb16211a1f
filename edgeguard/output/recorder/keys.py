# SPDX-License-Identifier: Apache-2.0
"""Who signs a log: a key that is replaced by its hash with every seal, so that an older one cannot
be had from it.

The key file holds the seed of the next log and its *lineage*: public keys from the first log's to
its own, each signed by the one before it in the lineage. Only the first has to be known to whoever
verifies. A lineage passes over most logs, or the header of a log would grow with every one before
it: while a key is there, it also vouches for some that come much later (`_voucher`), whose seeds
follow from its own.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import define, evolve, frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edgeguard.errors import EdgeguardError
from edgeguard.locked import locked
from edgeguard.places import CONFIG, home

NEXT_LOG = b"edgeguard log: next log"
NEXT_SEAL = b"edgeguard log: next seal"
VOUCH = b"edgeguard log: public key of a later log"
STRIDE = 1 << 16  # logs that a key vouches ahead at most
PUBLIC = ".pub"

_log = logging.getLogger("edgeguard")


def default_path() -> Path:
    """Where the command line keeps the key unless told otherwise. Raises EdgeguardError where there
    is no home."""
    return home(CONFIG) / "log-key.json"


@frozen
class Link:
    """One log's number and public key, and an earlier one's word for both (empty for the first)."""

    number: int
    public: str
    signature: str

    def message(self) -> bytes:
        """What is signed."""
        return VOUCH + self.number.to_bytes(8, "little") + bytes.fromhex(self.public)


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
    if not path.name:
        raise EdgeguardError(f"{path}: names no file for the key")
    if path.suffix.lower() == PUBLIC:  # whoever copies that file off the machine copied the seed
        raise EdgeguardError(f"{path}: is where the public key goes; name the key file FILE.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two recorders that begin at once get different keys.
        with locked(path.with_name(path.name + ".lock")):
            key = _load(path) if path.exists() else _first(path)
            _replace(path, _next(key))
    except OSError as error:
        raise EdgeguardError(f"{error.filename or path}: {error.strerror}") from None
    return Signer(key.seed, key.lineage)


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
    if not lineage or (lineage[0].number, lineage[0].public) != (0, pinned):
        return "signed by another key than the one it is held against"
    for before, after in itertools.pairwise(lineage):
        good = before.number < after.number
        if not good or not signed(before.public, after.message(), after.signature):
            return f"key {after.number} of its lineage is not signed by the one before it"
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
        good = isinstance(item, list) and len(item) == 3 and type(item[0]) is int
        good = good and 0 <= item[0] < 1 << 63 and is_hex(item[1], 32)
        if not good or not (is_hex(item[2], 64) or i == item[0] == 0):
            raise ValueError(f"key {i} is none")
        found.append(Link(*item))
    return tuple(found)


def stored(lineage: tuple[Link, ...]) -> list[list[Any]]:
    """The other way."""
    return [[link.number, link.public, link.signature] for link in lineage]


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


@frozen
class _Key:
    """What the key file holds for the next log."""

    seed: bytes
    lineage: tuple[Link, ...]
    ahead: tuple[Link, ...] = ()
    """Keys of logs after it that are vouched for already."""


def _first(path: Path) -> _Key:
    seed = secrets.token_bytes(32)
    public = _public(seed)
    file = path.with_suffix(PUBLIC)
    if file.exists():
        _check_lost(file, path)
        _keep(file)
    with file.open("x", encoding="ascii") as new:
        new.write(public + "\n")
    return _Key(seed, (Link(0, public, ""),))


def _check_lost(public: Path, key: Path) -> None:
    """Raises EdgeguardError unless this is the public half of a key file that is gone: whoever
    needs any other one looks for it here, and finds the wrong one."""
    text = public.read_text(encoding="ascii", errors="replace").strip()
    if not is_hex(text, 32) and text:  # empty: a power cut while it was made
        raise EdgeguardError(
            f"{public}: is no key of a log, and that of {key} would go there; name another key file"
        )
    unfinished = key.with_name(key.name + ".new")
    for other in public.parent.iterdir():
        mine = other in (public, unfinished) or other.with_suffix(PUBLIC) != public
        if not mine and _public_of(other) == text:
            raise EdgeguardError(f"{public}: belongs to {other}; name another key file than {key}")


def _public_of(file: Path) -> str | None:
    """The first public key of a key file; None for any other file."""
    try:
        if not file.is_file() or file.stat().st_size > 1 << 20:  # a log of that name, for instance
            return None
        return links(json.loads(file.read_bytes())["lineage"])[0].public
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _keep(public: Path) -> None:
    """Logs that were signed before the key file was lost are verified with what stands there."""
    numbers = itertools.count(1)
    free = (public.with_name(f"{public.name}.{n}") for n in numbers)
    kept = next(path for path in free if not path.exists())
    public.rename(kept)
    _log.warning("%s: a new key is made; older logs are verified with %s", public, kept)


def _voucher(number: int) -> int:
    """The log whose key vouches for this one's: the number without its lowest bit, so that no
    lineage is longer than a number has bits, and one more for every STRIDE logs."""
    return number - min(number & -number, STRIDE)


def _next(key: _Key) -> _Key:
    """The key of the log after this one, while this one can still vouch for what comes."""
    number = key.lineage[-1].number
    ahead = (*key.ahead, *_vouched(key.seed, number))
    (link,) = (one for one in ahead if one.number == number + 1)
    kept = (one for one in key.lineage if one.number <= _voucher(number + 1))
    later = tuple(one for one in ahead if one.number > number + 1)
    return _Key(_hashed(NEXT_LOG, key.seed), (*kept, link), later)


def _vouched(seed: bytes, number: int) -> Iterator[Link]:
    """The later keys that this log's vouches for."""
    own, later, done, step = _private(seed), seed, 0, 1
    while _voucher(number + step) == number:
        for _ in range(step - done):
            later = _hashed(NEXT_LOG, later)
        link = Link(number + step, _public(later), "")
        yield evolve(link, signature=own.sign(link.message()).hex())
        done, step = step, 2 * step


def _load(path: Path) -> _Key:
    with path.open(encoding="utf-8") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise EdgeguardError(
                f"{path}: others than its owner may use it (mode {stat.S_IMODE(mode):03o}); "
                f"chmod 600 {path}, and remove it if somebody did"
            )
        try:
            raw = json.load(file)
            ahead = links(raw["ahead"]) if raw["ahead"] else ()
            key = _Key(bytes.fromhex(raw["seed"]), links(raw["lineage"]), ahead)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise EdgeguardError(f"{path}: is no key file of the recorder") from None
    number = key.lineage[-1].number
    goes_on = _voucher(number + 1) == number or any(link.number == number + 1 for link in key.ahead)
    if not goes_on or _public(key.seed) != key.lineage[-1].public:
        raise EdgeguardError(f"{path}: seed and lineage do not belong together")
    return key


def _replace(path: Path, key: _Key) -> None:
    """Write the new file, swap them, and overwrite the old seed once the new one is there to
    stay."""
    new = path.with_name(path.name + ".new")
    text = json.dumps(
        {"seed": key.seed.hex(), "lineage": stored(key.lineage), "ahead": stored(key.ahead)}
    )
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    old = path.open("r+b") if path.exists() else None
    os.replace(new, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    if old is not None:
        with old:  # no longer has a name; its seed stands at its beginning
            old.write(bytes(128))
            old.flush()
            os.fsync(old.fileno())
