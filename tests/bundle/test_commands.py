# SPDX-License-Identifier: Apache-2.0
"""The commands that make bundles and keys, and what they refuse to bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeguard.bundle.file import read
from edgeguard.cli.main import cli
from edgeguard.errors import BundleRefused, EdgeguardError
from edgeguard.lab.export import new_key, read_private
from tests.bundle.making import exported


def run(*line: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, list(line), standalone_mode=False)
    return (done.return_value or 0) if done.exception is None else 2, str(
        done.exception or done.output
    )


def test_the_commands(machine: Path) -> None:
    bundle, trust = str(machine / "x.egb"), str(machine / "sign.pub")
    policy = str(machine / "src" / "guard.toml")
    made = ("lab", "export", policy, "--key", str(machine / "sign.pem"), "--version", "7")
    (machine / "figures.json").write_text('{"figures": []}')
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


@pytest.mark.parametrize("command", ["bundle verify", "check", "run"])
def test_an_empty_trust_is_no_folder_of_keys(
    machine: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an unset variable: whoever can put a key into the working directory would be trusted."""
    bundle = str(exported(machine, 1))
    monkeypatch.chdir(machine)
    more = ("--source", "simulated", "--sink", "out.jsonl") if command == "run" else ()
    code, said = run(*command.split(), bundle, "--trust", "", *more)
    assert (code, "is empty; want KEY.pub" in said) == (2, True)
    assert run("bundle", "verify", bundle, "--trust", ".")[0] == 0


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


def test_a_packaged_path_is_bundled_however_it_is_quoted(machine: Path) -> None:
    policy = machine / "src" / "guard.toml"
    policy.write_text(policy.read_text() + "\n# 'package:a' \"package:b\"\n")
    contents = read(exported(machine, 1), None)[1]
    assert any(b"# 'package/a' \"package/b\"" in data for data in contents)
