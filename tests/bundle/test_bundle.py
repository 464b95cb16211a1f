# SPDX-License-Identifier: Apache-2.0
"""Bundles: no byte can change, and only who is trusted may vouch for one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeguard import Guard
from edgeguard.bundle import Manifest, Trust, state
from edgeguard.bundle.file import MAGIC, SIGNATURE, part, read, verify, write
from edgeguard.bundle.trust import read_key
from edgeguard.cli.main import cli
from edgeguard.errors import BundleRefused, EdgeguardError
from edgeguard.lab.export import export, new_key, public, read_private
from tests.faults.bench import write_policy

PARTS = {"a.onnx": b"model", "guard.toml": b"[guard]\n"}


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def trust(key: Ed25519PrivateKey) -> Trust:
    return Trust((public(key),))


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


# ------------------------------------------------------------ in front of a guard


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a state folder of its own, and a guard.toml with a key to sign it."""
    monkeypatch.setenv("EDGEGUARD_STATE", str(tmp_path / "state"))
    (tmp_path / "src").mkdir()
    write_policy(tmp_path / "src")
    new_key(tmp_path / "sign.pem")
    return tmp_path


def exported(machine: Path, version: int) -> Path:
    to = machine / f"v{version}.egb"
    key = read_private(machine / "sign.pem")
    export(machine / "src" / "guard.toml", to, key, name="bench", version=version)
    return to


def loaded(machine: Path, bundle: Path, **how: Any) -> Guard:
    return Guard.load(bundle, trust=[machine / "sign.pub"], **how)


def test_a_guard_drives_from_its_bundle_alone(machine: Path) -> None:
    bundle = exported(machine, 1)
    shutil.rmtree(machine / "src")
    with loaded(machine, bundle) as guard:
        guard.arm()
        decision = guard.decide({"speed": 10.0}, 10**9)
        assert decision.command["target_speed"] == pytest.approx(10.0 - 4.0 * 0.01, abs=1e-4)
        assert "UNSIGNED_BUNDLE" not in decision.present


def test_an_older_version_is_refused_once_a_newer_one_was_armed(machine: Path) -> None:
    old, new = exported(machine, 1), exported(machine, 2)
    with loaded(machine, new):
        pass  # loaded, never armed: that counts for nothing
    with loaded(machine, old) as guard:
        guard.arm()
    with loaded(machine, new) as guard:
        guard.arm()
    with pytest.raises(BundleRefused, match="version 1 of 'bench' is older than 2"):
        loaded(machine, old)
    with loaded(machine, new) as guard:
        guard.arm()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"bench": "2"}', '{"bench": -1}'])
def test_a_state_that_nobody_can_read_arms_nothing(machine: Path, text: str) -> None:
    bundle = exported(machine, 1)
    (machine / "state").mkdir()
    (machine / "state" / state.FILE).write_text(text)
    with pytest.raises(BundleRefused, match="nobody knows which version ran last"):
        loaded(machine, bundle)


def test_a_state_that_cannot_be_written_arms_nothing(machine: Path) -> None:
    (machine / "state").write_text("a file where the folder should be")
    with (
        pytest.raises(BundleRefused, match="cannot be"),
        loaded(machine, exported(machine, 1)) as guard,
    ):
        guard.arm()


def test_without_a_signature_that_counts_every_decision_says_so(machine: Path) -> None:
    """Whatever the policy in it says about that cause."""
    policy = machine / "src" / "guard.toml"
    policy.write_text(
        policy.read_text()
        + '\n[cause.UNSIGNED_BUNDLE]\nseverity = "NOMINAL"\non_ms = 600000\noff_ms = 600000\n'
        + 'clears = "itself"\n'
    )
    bundle = exported(machine, 1)
    with pytest.raises(BundleRefused, match="not trusted here"):
        Guard.load(bundle)
    with Guard.load(bundle, "token", unsigned=True) as guard:
        guard.arm()
        for n in range(300):
            decision = guard.decide({"speed": 0.0}, 10**9 + n * 10**7)
            assert "UNSIGNED_BUNDLE" in decision.causes
        guard.rearm("token")
        assert "UNSIGNED_BUNDLE" in guard.decide({"speed": 0.0}, 4 * 10**9 + 10**7).causes
    assert not (machine / "state").exists()


def test_its_files_are_gone_when_the_guard_is(machine: Path) -> None:
    guard = loaded(machine, exported(machine, 1))
    folder = guard.config.source.parent
    assert folder.stat().st_mode & 0o077 == 0
    guard.close()
    assert not folder.exists()


# -------------------------------------------------------------------- command line


def run(*line: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, list(line), standalone_mode=False)
    return (done.return_value or 0) if done.exception is None else 2, str(
        done.exception or done.output
    )


def test_the_commands(machine: Path) -> None:
    bundle, trust = str(machine / "x.egb"), str(machine / "sign.pub")
    policy = str(machine / "src" / "guard.toml")
    made = ("lab", "export", policy, "--key", str(machine / "sign.pem"), "--version", "7")
    (machine / "figures.json").write_text("{}")
    assert run(*made, "-o", bundle, "--results", str(machine / "figures.json"))[0] == 0
    code, said = run("bundle", "verify", bundle, "--trust", trust)
    assert code == 0
    assert "bench version 7" in said
    assert "results/figures.json" in said
    code, said = run("bundle", "verify", bundle, "--trust", trust, "--json")
    assert json.loads(said)["version"] == 7
    assert run("check", bundle, "--trust", trust)[0] == 0
    code, said = run("run", bundle, "--source", "camera:0")
    assert (code, "not trusted here" in said) == (2, True)
    code, said = run("bundle", "verify", bundle)
    assert code == 2
    assert "not trusted here" in said


def test_a_key_is_never_overwritten_and_never_shared(machine: Path) -> None:
    with pytest.raises(EdgeguardError, match="never overwritten"):
        new_key(machine / "sign.pem")
    assert (machine / "sign.pem").stat().st_mode & 0o777 == 0o600
    (machine / "sign.pem").chmod(0o644)
    with pytest.raises(EdgeguardError, match="chmod 600"):
        read_private(machine / "sign.pem")


def test_what_lies_elsewhere_is_not_bundled(machine: Path) -> None:
    policy = machine / "src" / "guard.toml"
    (machine / "elsewhere.card.json").write_text((machine / "src" / "one.card.json").read_text())
    policy.write_text(policy.read_text().replace("one.card.json", "../elsewhere.card.json"))
    with pytest.raises(EdgeguardError, match="lies outside of"):
        exported(machine, 1)


# ------------------------------------------------------- what a review found


def hostile(machine: Path, text: str) -> Path:
    """A bundle by a trusted key whose guard.toml was not made by `export`."""
    folder = machine / "src"
    parts = {p.name: p.read_bytes() for p in folder.glob("*.card.json")}
    parts["guard.toml"] = text.encode()
    return made(machine, read_private(machine / "sign.pem"), parts)


@pytest.mark.parametrize("where", ["{src}/one.card.json", "../outside.card.json"])
def test_a_bundle_runs_nothing_that_lies_outside_of_it(
    machine: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(machine / "t"))
    (machine / "t").mkdir()
    shutil.copy(machine / "src" / "one.card.json", machine / "t" / "outside.card.json")
    policy = (machine / "src" / "guard.toml").read_text()
    text = policy.replace("one.card.json", where.format(src=machine / "src"))
    with pytest.raises(BundleRefused, match="lies outside of the bundle"):
        loaded(machine, hostile(machine, text))
    assert [p.name for p in (machine / "t").iterdir()] == ["outside.card.json"]


def test_no_absolute_path_is_exported(machine: Path) -> None:
    policy = machine / "src" / "guard.toml"
    absolute = str(machine / "src" / "one.card.json")
    policy.write_text(policy.read_text().replace("one.card.json", absolute))
    with pytest.raises(BundleRefused, match="lies outside of the bundle; name it"):
        exported(machine, 1)


@pytest.mark.parametrize("only", ["", "my car", "k\u00fchl", "a\n", "\x7f"])
def test_a_key_that_could_not_be_read_back_is_not_made(tmp_path: Path, only: str) -> None:
    with pytest.raises(EdgeguardError, match="want one word"):
        new_key(tmp_path / "x.pem", only)
    assert list(tmp_path.iterdir()) == []


def test_a_public_key_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(EdgeguardError, match=r"FILE\.pem"):
        new_key(tmp_path / "x.pub")
    (tmp_path / "x.pub").write_text("mine")
    with pytest.raises(EdgeguardError, match=r"x\.pub: is there already"):
        new_key(tmp_path / "x.pem")
    assert [p.name for p in tmp_path.iterdir()] == ["x.pub"]
    assert (tmp_path / "x.pub").read_text() == "mine"


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


def test_a_version_that_was_overtaken_does_not_arm(machine: Path) -> None:
    """Both were checked before either was armed."""
    with loaded(machine, exported(machine, 1)) as old, loaded(machine, exported(machine, 2)) as new:
        new.arm()
        with pytest.raises(BundleRefused, match="older than 2"):
            old.arm()


def test_a_bundle_that_cannot_be_laid_out_leaves_nothing(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "t").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(machine / "t"))
    bundle = made(machine, read_private(machine / "sign.pem"), {**PARTS, "guard.toml/x": b"x"})
    with pytest.raises(BundleRefused, match="cannot be laid out"):
        loaded(machine, bundle)
    assert list((machine / "t").iterdir()) == []


def test_a_packaged_path_is_bundled_however_it_is_quoted(machine: Path) -> None:
    policy = machine / "src" / "guard.toml"
    policy.write_text(policy.read_text() + "\n# 'package:a' \"package:b\"\n")
    contents = read(exported(machine, 1), None)[1]
    assert any(b"# 'package/a' \"package/b\"" in data for data in contents)
