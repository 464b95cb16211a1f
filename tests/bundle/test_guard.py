# SPDX-License-Identifier: Apache-2.0
"""A guard that is loaded from a bundle: what it runs, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from edgeguard import Guard, config
from edgeguard.bundle import state
from edgeguard.bundle.trust import read_key
from edgeguard.cli.run_page import access
from edgeguard.errors import BundleRefused, EdgeguardError
from edgeguard.lab.export import read_private
from tests.bundle.making import PARTS, exported, held, loaded, made


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


def test_a_version_is_kept_over_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, int]] = []

    def fsync(handle: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        synced.append((is_folder, state.newest(tmp_path, "bench")))

    monkeypatch.setattr(os, "fsync", fsync)
    state.remember(tmp_path, "bench", 7)
    assert synced == [(False, 0), (True, 7)]  # the new table, then the name that leads to it


def test_a_state_that_cannot_be_written_arms_nothing(machine: Path) -> None:
    (machine / "state").write_text("a file where the folder should be")
    with (
        pytest.raises(BundleRefused, match="cannot be"),
        loaded(machine, exported(machine, 1)) as guard,
    ):
        guard.arm()


def test_a_state_that_somebody_keeps_locked_arms_nothing(machine: Path) -> None:
    """It says so, instead of waiting for ever."""
    (machine / "state").mkdir()
    with (
        held(machine / "state" / f"{state.FILE}.lock"),
        loaded(machine, exported(machine, 1)) as guard,
        pytest.raises(BundleRefused, match=r"json\.lock: cannot be written: another process has"),
    ):
        guard.arm()


def test_no_other_account_can_lock_the_state(tmp_path: Path) -> None:
    """Whoever can read a file can lock it; those that earlier versions made could be read."""
    lock = tmp_path / f"{state.FILE}.lock"
    before = os.umask(0)
    try:
        state.remember(tmp_path, "bench", 1)
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
        lock.chmod(0o644)
        state.remember(tmp_path, "bench", 2)
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_a_link_in_place_of_the_lock_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("text")
    (tmp_path / f"{state.FILE}.lock").symlink_to(tmp_path / "mine")
    with pytest.raises(BundleRefused, match=r"\.lock: cannot be written"):
        state.remember(tmp_path, "bench", 1)
    assert (tmp_path / "mine").read_text() == "text"


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


def test_a_version_that_was_overtaken_does_not_arm(
    machine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Both were checked before either was armed."""
    with loaded(machine, exported(machine, 1)) as old, loaded(machine, exported(machine, 2)) as new:
        new.arm()
        assert "security event" not in caplog.text
        with pytest.raises(BundleRefused, match="older than 2"):
            old.arm()
        assert "security event: refused_file (3 points)" in caplog.text


def test_a_bundle_that_cannot_be_laid_out_leaves_nothing(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "t").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(machine / "t"))
    bundle = made(machine, read_private(machine / "sign.pem"), {**PARTS, "guard.toml/x": b"x"})
    with pytest.raises(BundleRefused, match="cannot be laid out"):
        loaded(machine, bundle)
    assert list((machine / "t").iterdir()) == []


def test_a_token_lies_beside_the_bundle_and_in_none(machine: Path) -> None:
    """It belongs to the machine: the one beside the guard.toml that was exported is not taken."""
    policy, token = machine / "src" / "guard.toml", machine / "src" / "operator.token"
    policy.write_text(policy.read_text() + '\n[telemetry]\ntoken_file = "operator.token"\n')
    token.touch(0o600)
    token.write_text("word of the desk".replace(" ", "-"))
    bundle = exported(machine, 1)
    assert b"word-of-the-desk" not in bundle.read_bytes()
    here = machine / "operator.token"
    with loaded(machine, bundle) as guard:
        with pytest.raises(EdgeguardError) as caught:
            access(guard.config, "", None)
        assert str(caught.value) == f"{here}: No such file or directory"
        here.touch(0o600)
        here.write_text("word-of-the-machine")
        given = access(guard.config, "", None)
        assert given is not None and given.token == "word-of-the-machine"
        other = access(guard.config, "", token)
        assert other is not None and other.token == "word-of-the-desk"
    desk = access(config.load(policy), "", None)
    assert desk is not None and desk.token == "word-of-the-desk"


def test_a_log_says_which_bundle_it_was_made_with(machine: Path) -> None:
    pytest.importorskip("mcap", reason="the recorder needs the extra record")
    from edgeguard.output.recorder.log_reader import Log

    log = machine / "flight.mcap"
    with loaded(machine, exported(machine, 3)) as guard:
        guard.record(log, key=machine / "key.json")
        guard.arm()
        guard.decide({"speed": 10.0}, 10**9)
    key = read_key(machine / "sign.pub").id
    wanted = {"name": "bench", "version": 3, "key": key, "signed": True}
    assert json.loads(Log(log).about["bundle"]) == wanted
