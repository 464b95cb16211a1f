# SPDX-License-Identifier: Apache-2.0
"""Make a bundle: everything that a guard.toml needs, and what is known about it, signed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeguard import config, figures
from edgeguard.bundle import Key, Manifest
from edgeguard.bundle.file import one_word, parse, part, write
from edgeguard.config.cards import card_file, card_of, model_path
from edgeguard.config.files import PACKAGE, resolve
from edgeguard.config.load import confined
from edgeguard.config.toml import read as read_toml
from edgeguard.errors import EdgeguardError
from edgeguard.zoo import models_dir

POLICY = "guard.toml"
TOOLS = ("edgeguard-monitor", "numpy", "onnxruntime", "ai-edge-litert", "torch", "cryptography")
Files = dict[str, tuple[str, bytes]]
"""Path in the bundle: kind and contents."""


def export(
    policy: Path, to: Path, key: Ed25519PrivateKey, *, name: str, version: int,
    results: Iterable[Path] = (), seed: int | None = None,
) -> Manifest:  # fmt: skip
    """Sign everything that `policy` names. results: files of figures that belong to it.

    Raises ConfigError for a policy that does not load, BundleRefused for a name or version that
    nobody could open, EdgeguardError for files outside its folder, and for results that are none or
    of the same name.
    """
    loaded = config.load(policy, files=True)
    files = _files(policy, loaded)
    for file in results:
        place = f"results/{file.name}"
        if place in files:
            raise EdgeguardError(
                f"--results {file}: another file of that name is given; rename one, for a bundle "
                "holds them side by side"
            )
        files[place] = ("results", _results(file))
    _loads(files)
    ordered = sorted(files.items())
    manifest = Manifest(
        name=name,
        version=version,
        policy=POLICY,
        key=public(key).id,
        parts=tuple(part(path, kind, data) for path, (kind, data) in ordered),
        about=_about(policy, loaded, seed),
    )
    parse(str(to), manifest.canonical())
    write(to, manifest, [data for _, (_, data) in ordered], key)
    return manifest


def _files(policy: Path, loaded: config.GuardConfig) -> Files:
    """What the guard reads, at the place where it will look for it."""
    text = re.sub(rf"([\"']){PACKAGE}", r"\1package/", policy.read_text(encoding="utf-8"))
    found: Files = {POLICY: ("policy", text.encode())}

    def add(path: Path, kind: str) -> None:
        found[_place(policy, path)] = kind, path.read_bytes()

    for member in loaded.members.values():
        card = card_of(policy, member)
        model = model_path(policy, member, card)
        add(card_file(policy, member), "card")
        if member.runtime != "external":
            add(model, "model")
        if card.golden is not None:
            add(card.directory / card.golden.file, "golden")
        if card.labels_file is not None:
            add(card.directory / card.labels_file, "labels")
    if loaded.guard.calibration is not None:
        calibration = resolve(policy, loaded.guard.calibration)
        add(calibration, "calibration")
        arrays = read_toml(calibration)[0].get("arrays", {}).get("file")
        if arrays is not None:
            add(calibration.parent / arrays, "detector")
    return found


def _results(file: Path) -> bytes:
    """A results file, as the commands write it: a signature vouches for what is in it."""
    try:
        figures.rows(file)
    except EdgeguardError as error:
        raise EdgeguardError(f"--results {error}") from None
    return file.read_bytes()


def _place(policy: Path, path: Path) -> str:
    """Beside guard.toml as it was, or under package/ for what came from the installed zoo."""
    resolved = path.resolve()
    roots = ((policy.resolve().parent, ""), (models_dir().parent.resolve(), "package/"))
    for root, prefix in roots:
        if resolved.is_relative_to(root):
            return prefix + resolved.relative_to(root).as_posix()
    raise EdgeguardError(
        f"{path}: lies outside of {policy.parent}; a bundle holds what lies beside its guard.toml"
    )


def _loads(files: Files) -> None:
    """Nothing is signed that would not load where only the bundle is. Raises ConfigError, and
    BundleRefused for what it would look for elsewhere."""
    with tempfile.TemporaryDirectory(prefix="edgeguard-export-") as folder:
        for path, (_, data) in files.items():
            to = Path(folder) / path
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(data)
        confined(config.load(Path(folder) / POLICY, files=True), Path(folder), POLICY)


def _about(policy: Path, loaded: config.GuardConfig, seed: int | None) -> dict[str, Any]:
    cards = {name: card_of(policy, member) for name, member in loaded.members.items()}
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seed": seed,
        "tools": {tool: _version(tool) for tool in TOOLS},
        "training": {name: card.extra.get("training") for name, card in cards.items()},
        "accuracy": {name: card.extra.get("accuracy") for name, card in cards.items()},
    }


def _version(tool: str) -> str | None:
    try:
        return metadata.version(tool)
    except metadata.PackageNotFoundError:
        return None


# -------------------------------------------------------------------- keys


def public(key: Ed25519PrivateKey, only: str | None = None) -> Key:
    """The half that goes onto the machines."""
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return Key(raw, only)


def new_key(to: Path, only: str | None = None) -> Key:
    """Make a key: `to` (PEM, 0600) to sign with, and beside it .pub for the machines.

    only: the one bundle name it vouches for. Raises EdgeguardError, before anything is written,
    when one of the files is there already, or `only` cannot stand in a key file.
    """
    if only is not None and not one_word(only):
        raise EdgeguardError(f"only {only!r}: want one word of printable ASCII without spaces")
    pub = to.with_suffix(".pub")
    if pub == to:
        raise EdgeguardError(f"{to}: is where the public key goes; name the private one FILE.pem")
    if pub.exists() or pub.is_symlink():
        raise EdgeguardError(f"{pub}: is there already; a key is never overwritten")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        to.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise EdgeguardError(f"{to}: is there already; a key is never overwritten") from None
    to.write_bytes(pem)
    made = public(key, only)
    with pub.open("x", encoding="ascii") as file:
        file.write(made.line())
    return made


def read_private(path: Path) -> Ed25519PrivateKey:
    """Raises EdgeguardError when others may read it or it is none."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except TypeError:
        raise EdgeguardError(f"{path}: has a password; want a key without one") from None
    except ValueError:
        raise EdgeguardError(
            f"{path}: is no private key; want the FILE.pem that `edgeguard bundle key` made"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise EdgeguardError(f"{path}: is no Ed25519 key")
    if path.stat().st_mode & 0o077:
        raise EdgeguardError(f"{path}: others than its owner may read it; chmod 600 {path}")
    return key
