# SPDX-License-Identifier: Apache-2.0
"""Bundles as tests need them: small ones that nobody loads, and those of the bench."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def process(code: str, *arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that runs this, and its first line; killed in the end."""
    line = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            yield running, running.stdout.readline().strip()
        finally:
            running.kill()


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Another process has locked this file, as it can when it may read it."""
    code = """
import fcntl, sys
file = open(sys.argv[1])
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
    lock.touch()
    with process(code, lock) as (_, said):
        assert said == "held"
        yield


def loaded(machine: Path, bundle: Path, **how: Any) -> Guard:
    return Guard.load(bundle, trust=[machine / "sign.pub"], **how)
