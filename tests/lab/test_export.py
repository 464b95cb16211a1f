# SPDX-License-Identifier: Apache-2.0
"""What `edgeguard lab export` will not sign."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="bundles are signed")

from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeguard import config
from edgeguard.cli.main import cli
from edgeguard.errors import EdgeguardError
from edgeguard.lab.export import export, new_key, read_private
from edgeguard.zoo import models_dir
from tests.cli.running import POLICY
from tests.faults.bench import write_policy


def test_two_results_of_the_same_name_are_refused(tmp_path: Path) -> None:
    """The second would take the place of the first, and nobody would know."""
    key, to, results = Ed25519PrivateKey.generate(), tmp_path / "x.egb", []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        results.append(tmp_path / folder / "figures.json")
        results[-1].write_text(f'{{"figures": [], "seed": "{folder}"}}')
    policy = models_dir() / "guard.toml"
    with pytest.raises(EdgeguardError, match=r"--results .*two/figures\.json: another file of"):
        export(policy, to, key, name="car", version=1, results=results)
    assert not to.exists()
    export(policy, to, key, name="car", version=1, results=results[:1])
    assert to.exists()


def exporting(folder: Path, *more: str) -> tuple[int, str]:
    """Exit code and complaint of the command, with a key and a policy in the folder."""
    if not (folder / "k.pem").exists():
        write_policy(folder)
        new_key(folder / "k.pem")
    line = ["lab", "export", str(folder / "guard.toml"), "--key", str(folder / "k.pem")]
    done = CliRunner().invoke(cli, [*line, *more])
    return done.exit_code, str(done.exception or "") + done.output


def test_a_bundle_takes_the_place_of_nothing_that_it_is_made_of(tmp_path: Path) -> None:
    """The private key above all, which nobody has twice."""
    (tmp_path / "figures.json").write_text('{"figures": []}')
    assert exporting(tmp_path, "--version", "1", "-o", str(tmp_path / "x.egb"))[0] == 0
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for name in ("k.pem", "guard.toml", "one.card.json", "figures.json"):
        (tmp_path / "link.egb").symlink_to(tmp_path / name)
        more = ("--results", str(tmp_path / "figures.json"))
        code, said = exporting(tmp_path, "--version", "2", "-o", str(tmp_path / "link.egb"), *more)
        assert (code != 0, "is read here, and would be lost" in said) == (True, True), said
        assert (
            "want a name that ends in .egb"
            in exporting(tmp_path, "--version", "2", "-o", str(tmp_path / name))[1]
        )
        (tmp_path / "link.egb").unlink()
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (("--version", "9007199254740993"), "is not in the range 1<=x<=9007199254740992"),
        (("--version", "1", "--name", ""), "'' is no name; want one word"),
        (("--version", "1", "--name", "a\x1b[31m\nb"), "is no name; want one word"),
        (("--version", "1", "--name", "a b"), "'a b' is no name; want one word"),
        (("--version", "1", "--results", "k.pub"), "k.pub: no results file; want one that"),
    ],
)
def test_nothing_is_signed_that_nobody_could_open(
    tmp_path: Path, more: tuple[str, ...], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_policy(tmp_path)
    new_key(tmp_path / "k.pem")
    code, said = exporting(tmp_path, *more, "-o", str(tmp_path / "x.egb"))
    assert (code != 0, complaint in said) == (True, True), said
    assert not (tmp_path / "x.egb").exists()


def test_a_guards_name_that_no_bundle_can_have_asks_for_one(tmp_path: Path) -> None:
    more = ("--version", "1", "-o", str(tmp_path / "x.egb"))
    assert exporting(tmp_path, *more)[0] == 0
    policy = tmp_path / "guard.toml"
    policy.write_text(policy.read_text().replace('name = "bench"', 'name = "Sign speed"'))
    code, said = exporting(tmp_path, *more)
    assert (code != 0, "give one with --name" in said) == (True, True), said
    assert exporting(tmp_path, *more, "--name", "sign-speed")[0] == 0


def test_a_key_with_a_password_is_not_called_none(tmp_path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "k.pem").write_bytes(pem)
    with pytest.raises(EdgeguardError, match=r"k\.pem: has a password; want a key without one"):
        read_private(tmp_path / "k.pem")


def test_a_key_that_is_none_is_said_to_be_none(tmp_path: Path) -> None:
    """Not that it should be hidden: a public key would be locked up."""
    new_key(tmp_path / "k.pem")
    with pytest.raises(EdgeguardError, match=r"k\.pub: is no private key; want the FILE\.pem"):
        read_private(tmp_path / "k.pub")


@pytest.mark.parametrize(
    ("model", "card", "stale"),
    [("m.onnx", "m.onnx.card.json", "m.card.json"), ("m.int8.onnx", "m.card.json", None)],
)
def test_the_card_that_was_checked_is_the_one_that_is_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, card: str, stale: str | None
) -> None:
    monkeypatch.setenv("EDGEGUARD_STATE", str(tmp_path / "state"))
    shipped = models_dir()
    for name in ("plain.golden.npz", "labels.json"):
        shutil.copy(shipped / name, tmp_path / name)
    shutil.copy(shipped / "plain.onnx", tmp_path / model)
    written = json.loads((shipped / "plain.card.json").read_text()) | {"file": model}
    (tmp_path / card).write_text(json.dumps(written | {"temperature": 0.5}))
    if stale is not None:
        (tmp_path / stale).write_text(json.dumps(written | {"temperature": 0.01}))
    policy, bundle = tmp_path / "guard.toml", tmp_path / "x.egb"
    policy.write_text(POLICY.replace("package:gtsrb/plain", model))
    new_key(tmp_path / "k.pem")
    export(policy, bundle, read_private(tmp_path / "k.pem"), name="run", version=1)
    made = config.load(bundle, trust=[tmp_path / "k.pub"])
    assert config.load_cards(made)["plain"].temperature == 0.5
    assert made.bundle is not None
    made.bundle.close()


def test_code_that_no_signature_covers_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule of one's own is Python on the machine; who exports and who checks is told."""
    monkeypatch.setenv("EDGEGUARD_STATE", str(tmp_path / "state"))
    policy = write_policy(tmp_path)
    policy.write_text(policy.read_text().replace('"slow_and_hold", floor = 5.0', '"my_rule:make"'))
    (tmp_path / "my_rule.py").write_text(
        "def make():\n    return lambda signals, last, t_ns: 3.0\n"
    )
    new_key(tmp_path / "k.pem")
    bundle = str(tmp_path / "x.egb")
    made = CliRunner().invoke(
        cli, ["lab", "export", str(policy), "--key", str(tmp_path / "k.pem"), "--version", "1",
              "-o", bundle],
    )  # fmt: skip
    assert "not signed: my_rule:make, the rule of target_speed" in made.stderr
    seen = CliRunner().invoke(cli, ["check", bundle, "--trust", str(tmp_path / "k.pub")])
    said = " ".join(seen.output.split())
    assert "my_rule:make, Python code of this machine: not imported here, not in the" in said
    with monkeypatch.context() as here:
        here.chdir(Path("/"))  # what lies beside a bundle is no part of it
        ran = CliRunner().invoke(
            cli, ["run", bundle, "--trust", str(tmp_path / "k.pub"), "--source", str(tmp_path)]
        )
    assert "No module named 'my_rule'" in str(ran.exception)
