# SPDX-License-Identifier: Apache-2.0
"""What only the recipient of a log can read: X25519, HKDF-SHA256, ChaCha20-Poly1305.

Each log has a key of its own, agreed between a key pair that lives as long as the log is written
and the recipient's; its blocks are counted, and the count is the nonce.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from edgeguard.errors import EdgeguardError

PURPOSE = b"edgeguard log: what only its recipient can read"
HOW = (
    "openssl genpkey -algorithm x25519 -out FILE, and openssl pkey -in FILE -pubout for the public"
)


def recipient(path: Path) -> X25519PublicKey:
    """A public key in PEM. Raises EdgeguardError."""
    try:
        key = load_pem_public_key(_read(path))
    except ValueError:
        key = None
    if not isinstance(key, X25519PublicKey):
        raise EdgeguardError(f"{path}: want an X25519 public key in PEM; {HOW}")
    return key


def private(path: Path) -> X25519PrivateKey:
    """A private key in PEM, without a password. Raises EdgeguardError."""
    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, X25519PrivateKey):
        raise EdgeguardError(f"{path}: want an X25519 private key in PEM, without a password")
    return key


class Box:
    """Locks the blocks of one log."""

    def __init__(self, to: X25519PublicKey) -> None:
        mine = X25519PrivateKey.generate()
        self.public = mine.public_key().public_bytes_raw()
        """Goes into the log: with it, the recipient comes to the same key."""
        self.to = to.public_bytes_raw()
        self._cipher = _cipher(mine.exchange(to), self.public, self.to)
        self._blocks = 0

    def lock(self, plain: bytes) -> bytes:
        """The next block."""
        nonce = self._blocks.to_bytes(12, "little")
        self._blocks += 1
        return nonce + self._cipher.encrypt(nonce, plain, None)


class Opener:
    """Opens them again."""

    def __init__(self, mine: X25519PrivateKey, public: bytes) -> None:
        """public: that of the log's `Box`. Raises ValueError when it is none."""
        shared = mine.exchange(X25519PublicKey.from_public_bytes(public))
        self._cipher = _cipher(shared, public, mine.public_key().public_bytes_raw())

    def open(self, block: bytes) -> bytes:
        """Raises EdgeguardError when it is for somebody else, or damaged."""
        try:
            return self._cipher.decrypt(block[:12], block[12:], None)
        except InvalidTag:
            raise EdgeguardError("cannot be opened: for another key, or damaged") from None


def _cipher(shared: bytes, log: bytes, to: bytes) -> ChaCha20Poly1305:
    derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE + log + to)
    return ChaCha20Poly1305(derive.derive(shared))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EdgeguardError(f"{path}: {error.strerror}") from None
