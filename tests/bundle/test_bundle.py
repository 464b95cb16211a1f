# SPDX-License-Identifier: Apache-2.0
"""The container: no byte can change, and only who is trusted may vouch for one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeguard.bundle import Trust
from edgeguard.bundle.file import MAGIC, SIGNATURE, read, verify, write
from edgeguard.bundle.trust import read_key
from edgeguard.errors import BundleRefused
from edgeguard.lab.export import public
from tests.bundle.making import PARTS, made


def test_every_change_of_every_byte_is_refused(
    tmp_path: Path, key: Ed25519PrivateKey, trust: Trust
) -> None:
    good = made(tmp_path, key).read_bytes()
    assert verify("b", good, trust)[1] == list(PARTS.values())
    spoilt = bytearray(good)
    for at in range(len(good)):
        for value in range(1, 256):
            spoilt[at] = good[at] ^ value
            with pytest.raises(BundleRefused):
                verify("b", bytes(spoilt), trust)
        spoilt[at] = good[at]


def test_every_cut_and_anything_behind_it_is_refused(
    tmp_path: Path, key: Ed25519PrivateKey, trust: Trust
) -> None:
    good = made(tmp_path, key).read_bytes()
    for cut in range(len(good)):
        with pytest.raises(BundleRefused):
            verify("b", good[:cut], trust)
    with pytest.raises(BundleRefused, match="1 bytes behind the last part"):
        verify("b", good + b"\0", trust)


def test_a_bundle_is_written_whole_or_the_old_one_stays(
    tmp_path: Path, key: Ed25519PrivateKey, trust: Trust
) -> None:
    path = made(tmp_path, key)
    link = tmp_path / "another name.egb"
    link.hardlink_to(path)
    manifest, contents = read(path, trust)
    write(path, evolve(manifest, version=2), contents, key)
    assert read(path, trust)[0].version == 2
    assert read(link, trust)[0].version == 1  # not one byte of the old file was written over
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write(tmp_path / "folder", manifest, contents, key)
    assert sorted(p.name for p in tmp_path.iterdir()) == [link.name, path.name, "folder"]


def spliced(folder: Path, key: Ed25519PrivateKey) -> Path:
    """Head of one bundle, one part of another: both signed by the same key."""
    one = made(folder, key)
    other = made(folder, key, {**PARTS, "a.onnx": b"MODEL"})
    data = bytearray(one.read_bytes())
    at = data.rindex(b"model")
    data[at : at + 5] = other.read_bytes()[at : at + 5]
    one.write_bytes(bytes(data))
    return one


def swapped(folder: Path, key: Ed25519PrivateKey) -> Path:
    """Two parts of the same size change places."""
    path = made(folder, key, {"guard.toml": b"first", "b.onnx": b"other"})
    path.write_bytes(path.read_bytes().replace(b"firstother", b"otherfirst"))
    return path


def missing(folder: Path, key: Ed25519PrivateKey) -> Path:
    path = made(folder, key)
    path.write_bytes(path.read_bytes()[: -len(b"[guard]\n")])
    return path


def no_signature(folder: Path, key: Ed25519PrivateKey) -> Path:
    path = made(folder, key)
    data = path.read_bytes()
    end = len(MAGIC) + 4 + int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "little")
    path.write_bytes(data[:end] + bytes(SIGNATURE) + data[end + SIGNATURE :])
    return path


def self_signed(folder: Path, key: Ed25519PrivateKey) -> Path:
    """Signed by somebody else, who says that it was the trusted key."""
    return made(folder, Ed25519PrivateKey.generate(), key=public(key).id)


def unknown_key(folder: Path, key: Ed25519PrivateKey) -> Path:
    return made(folder, Ed25519PrivateKey.generate())


def escaping(folder: Path, key: Ed25519PrivateKey) -> Path:
    return made(folder, key, {**PARTS, "../../evil": b"x"})


def without_policy(folder: Path, key: Ed25519PrivateKey) -> Path:
    return made(folder, key, policy="other.toml")


REFUSED: dict[str, tuple[Callable[[Path, Ed25519PrivateKey], Path], str]] = {
    "a part of another bundle": (spliced, r"a\.onnx: is not the file that was signed"),
    "swapped parts": (swapped, r"guard\.toml: is not the file that was signed"),
    "missing part": (missing, r"guard\.toml: missing"),
    "no signature": (no_signature, "manifest: was changed after it was signed"),
    "self-signed": (self_signed, "manifest: was changed after it was signed"),
    "unknown key": (unknown_key, "which is not trusted here"),
    "a path that leads out": (escaping, "leads out of the bundle"),
    "no policy": (without_policy, "the policy is missing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path, key: Ed25519PrivateKey, trust: Trust) -> None:
    spoil, words = REFUSED[name]
    with pytest.raises(BundleRefused, match=words):
        read(spoil(tmp_path, key), trust)


def test_a_key_for_one_bundle_vouches_for_no_other(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    demo = Trust((public(key, only="demo"),))
    with pytest.raises(BundleRefused, match="vouches for bundles named 'demo' alone, not 'car'"):
        read(made(tmp_path, key), demo)
    assert read(made(tmp_path, key, name="demo"), demo)[0].name == "demo"


def test_a_key_for_two_bundles_lies_in_two_files(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    for name in ("car", "demo"):
        (tmp_path / f"{name}.pub").write_text(public(key, only=name).line())
    both = Trust.of([tmp_path])
    for name in ("car", "demo"):
        assert read(made(tmp_path, key, name=name), both)[0].name == name
    with pytest.raises(BundleRefused, match="vouches for bundles named 'demo' alone, not 'van'"):
        read(made(tmp_path, key, name="van"), both)


def test_an_empty_name_trusts_nothing(
    tmp_path: Path, key: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a path it is the working directory, whatever keys lie there."""
    (tmp_path / "x.pub").write_text(public(key).line())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleRefused, match="trust: names no key"):
        Trust.of([Path("")])
    assert Trust.of([Path.cwd()]).keys == (public(key),)


def test_a_folder_without_a_key_is_named(tmp_path: Path) -> None:
    """Else a wrong folder reads as an untrusted bundle."""
    (tmp_path / "key.pem").touch()
    with pytest.raises(BundleRefused, match=f"trust: {tmp_path}: holds no key"):
        Trust.of([tmp_path])


def test_a_name_that_could_draw_on_a_terminal_is_none(
    tmp_path: Path, key: Ed25519PrivateKey
) -> None:
    with pytest.raises(BundleRefused, match="is no name; want one word of printable ASCII"):
        read(made(tmp_path, key, name="car\x1b[2J"), None)


def test_what_a_key_is_limited_to_is_said(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    other = Trust((public(Ed25519PrivateKey.generate(), only="demo"),))
    with pytest.raises(BundleRefused, match=r"trusted: [0-9a-f]{16} for demo alone"):
        read(made(tmp_path, key), other)


def test_keys_rotate(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    fresh = Ed25519PrivateKey.generate()
    old, new = made(tmp_path, key), made(tmp_path, fresh)
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "old.pub").write_text(public(key).line())
    (folder / "new.pub").write_text(public(fresh).line())
    both = Trust.of([folder])
    assert read(old, both)
    assert read(new, both)
    (folder / "old.pub").unlink()
    with pytest.raises(BundleRefused, match="not trusted here"):
        read(old, Trust.of([folder]))


@pytest.mark.parametrize(
    "line", ["", "ed25519", "rsa AAAA", "ed25519 AAAA", "ed25519 !!!", f"ed25519 {'A' * 44} x=y",
             f"ed25519 {'A' * 43}= bundle="],
)  # fmt: skip
def test_what_is_no_key_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "x.pub").write_text(line)
    with pytest.raises(BundleRefused, match=r"x\.pub: is no key"):
        read_key(tmp_path / "x.pub")


@pytest.mark.parametrize("manifest", [b"[" * 100_000, b'"\\ud800"'])
def test_a_manifest_that_breaks_a_parser_is_refused(manifest: bytes) -> None:
    text = manifest
    if manifest.startswith(b'"'):
        text = (
            b'{"about":{},"format":1,"key":"k","name":' + manifest + b',"parts":[],"policy":"p",'
            b'"version":1}'
        )
    head = MAGIC + len(text).to_bytes(4, "little") + text
    with pytest.raises(BundleRefused, match="cannot be read"):
        verify("b", head + bytes(SIGNATURE), None)
