# SPDX-License-Identifier: Apache-2.0
"""An encrypted log: nothing that a member said can be read without the recipient's key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from mcap.opcode import Opcode
from mcap.reader import make_reader

from edgeguard.errors import EdgeguardError
from edgeguard.explain import explain
from edgeguard.output.recorder.log_reader import raw_records
from edgeguard.output.recorder.verify import State, verify
from edgeguard.replay import replay
from tests.faults.bench import Bench, certain
from tests.output.recorder.conftest import eventful


def pair(folder: Path, name: str, kind: type[X25519PrivateKey | Ed25519PrivateKey]) -> Path:
    """The private key's file; the public one lies beside it as NAME.pem.pub."""
    key = kind.generate()
    path = folder / f"{name}.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pem.pub").write_bytes(public)
    return path


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return pair(tmp_path, "mine", X25519PrivateKey)


@pytest.fixture
def encrypted(silent: Bench, log: Path, tmp_path: Path, mine: Path) -> Bench:
    public = mine.with_suffix(".pem.pub")
    silent.guard.record(log, key=tmp_path / "key.json", recipient=public)
    return silent


def test_its_owner_replays_it(
    encrypted: Bench, log: Path, mine: Path, pinned: Callable[[], str]
) -> None:
    eventful(encrypted)
    encrypted.guard.close()
    assert verify(log, pinned()).state is State.CLOSED, "nobody needs the key for that"
    outcome = replay(log, mine)
    assert (outcome.decisions, outcome.difference) == (encrypted.ticks, None)
    assert explain(log, mine).decisions == encrypted.ticks


def test_nobody_else_reads_it(encrypted: Bench, log: Path, tmp_path: Path) -> None:
    encrypted.guard.arm()
    encrypted.say(certain("ten", 0.912345))
    encrypted.tick()
    encrypted.guard.close()
    with log.open("rb") as file:
        messages = list(make_reader(file).iter_messages())
    assert {channel.topic for _, channel, _ in messages} == {"/edgeguard/encrypted"}
    secrets = (certain("ten", 0.912345).tobytes(), b'"certainty":0.91', b'"mode":"FALLBACK"')
    content = b"".join(message.data for _, _, message in messages)
    for secret in secrets:
        assert secret not in content
        assert secret not in log.read_bytes()
    with pytest.raises(EdgeguardError, match=r"is encrypted to the key [0-9a-f]{64}"):
        replay(log)
    other = pair(tmp_path, "other", X25519PrivateKey)
    with pytest.raises(EdgeguardError, match="is not the key that"):
        replay(log, other)


def test_a_log_that_is_not_encrypted_needs_no_key(bench: Bench, log: Path, mine: Path) -> None:
    bench.nominal()
    bench.guard.close()
    assert replay(log, mine).decisions == bench.ticks


def test_a_changed_block_is_not_opened(encrypted: Bench, log: Path, mine: Path) -> None:
    encrypted.nominal()
    encrypted.guard.close()
    whole = log.read_bytes()
    chunk = next(r for r in raw_records(whole) if r.opcode == Opcode.CHUNK)
    for at in range(chunk.end - 3000, chunk.end, 100):
        changed = bytearray(whole)
        changed[at] ^= 1
        log.write_bytes(changed)
        with pytest.raises(EdgeguardError, match="damaged"):
            replay(log, mine)


def test_what_is_no_recipient(silent: Bench, log: Path, tmp_path: Path, mine: Path) -> None:
    wrong = pair(tmp_path, "wrong", Ed25519PrivateKey).with_suffix(".pem.pub")
    (tmp_path / "text").write_text("hello")
    for public in (wrong, tmp_path / "text", mine):
        with pytest.raises(EdgeguardError, match="want an X25519 public key in PEM"):
            silent.guard.record(log, key=tmp_path / "key.json", recipient=public)
    with pytest.raises(EdgeguardError, match="No such file"):
        silent.guard.record(log, key=tmp_path / "key.json", recipient=tmp_path / "nowhere")
    assert not log.exists()
