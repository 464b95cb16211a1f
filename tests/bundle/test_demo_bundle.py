# SPDX-License-Identifier: Apache-2.0
"""The shipped bundle is the shipped guard, and its key vouches for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeguard.bundle import file
from edgeguard.bundle.trust import SUFFIX, Trust, read_key
from edgeguard.config import load
from edgeguard.errors import BundleRefused
from edgeguard.zoo import models_dir

MODELS = models_dir("gtsrb")
DEMO = MODELS / "demo.egb"


def test_it_is_trusted_without_a_word_and_holds_what_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGUARD_STATE", str(tmp_path))
    manifest, contents = file.read(DEMO, Trust.of_machine())
    shipped = {p.path: data for p, data in zip(manifest.parts, contents, strict=True)}
    shipped = {path: data for path, data in shipped.items() if not path.startswith("results/")}
    assert {"guard.toml", "plain.onnx", "robust.onnx", "compact.tflite"} <= shipped.keys()
    stale = [path for path, data in shipped.items() if (MODELS / path).read_bytes() != data]
    assert not stale, "made before these changed: see `edgeguard lab export`"
    config = load(DEMO)
    assert config.members == load(MODELS / "guard.toml").members


def test_its_key_vouches_for_no_other_name(tmp_path: Path) -> None:
    key = read_key(MODELS / f"demo{SUFFIX}")
    assert key.only == "sign-speed"
    manifest, contents = file.read(DEMO, Trust.of_machine())
    own = Ed25519PrivateKey.generate()
    file.write(tmp_path / "mine.egb", manifest, contents, own)
    with pytest.raises(BundleRefused):  # the same parts, signed by somebody else
        file.read(tmp_path / "mine.egb", Trust.of_machine())


def test_no_private_key_is_shipped() -> None:
    assert not [
        p for p in MODELS.iterdir() if p.suffix == ".pem" or b"PRIVATE KEY" in p.read_bytes()
    ]
