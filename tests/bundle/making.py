# SPDX-License-Identifier: Apache-2.0
"""Bundles as tests need them: small ones that nobody loads, and those of the bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeguard import Guard
from edgeguard.bundle import Manifest
from edgeguard.bundle.file import part, write
from edgeguard.lab.export import export, public, read_private

PARTS = {"a.onnx": b"model", "guard.toml": b"[guard]\n"}


def made(
    folder: Path, signer: Ed25519PrivateKey, parts: dict[str, bytes] | None = None, **changes: Any
) -> Path:
    """A small bundle, not meant to be loaded."""
    contents = parts or PARTS
    described = tuple(part(path, "model", data) for path, data in contents.items())
    manifest = Manifest("car", 1, "guard.toml", public(signer).id, described, {})
    to = folder / f"b{len(list(folder.glob('*.egb')))}.egb"
    write(to, evolve(manifest, **changes), list(contents.values()), signer)
    return to


def exported(machine: Path, version: int) -> Path:
    to = machine / f"v{version}.egb"
    key = read_private(machine / "sign.pem")
    export(machine / "src" / "guard.toml", to, key, name="bench", version=version)
    return to


def loaded(machine: Path, bundle: Path, **how: Any) -> Guard:
    return Guard.load(bundle, trust=[machine / "sign.pub"], **how)
