# SPDX-License-Identifier: Apache-2.0
"""A key to sign with, who trusts it, and a machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeguard.bundle import Trust
from edgeguard.lab.export import new_key, public
from tests.faults.bench import write_policy


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def trust(key: Ed25519PrivateKey) -> Trust:
    return Trust((public(key),))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a state folder of its own, and a guard.toml with a key to sign it."""
    monkeypatch.setenv("EDGEGUARD_STATE", str(tmp_path / "state"))
    (tmp_path / "src").mkdir()
    write_policy(tmp_path / "src")
    new_key(tmp_path / "sign.pem")
    return tmp_path
