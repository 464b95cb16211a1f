# SPDX-License-Identifier: Apache-2.0
"""Keys evolve: the first public key vouches for every log, and no key can be had from a later."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
from attrs import evolve

pytest.importorskip("mcap", reason="the recorder needs the extra record")


from edgeguard.cli.run_record import Recording, check
from edgeguard.errors import EdgeguardError
from edgeguard.output.recorder import keys
from edgeguard.output.recorder.keys import (
    Link,
    begin,
    broken_link,
    first_key,
    links,
    signed,
    stored,
)
from tests.bundle.making import held
from tests.faults.bench import Bench


def test_each_log_has_its_own_key_that_the_first_one_vouches_for(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    signers = [begin(path) for _ in range(5)]
    pinned = first_key(str(tmp_path / "key.pub"))
    for n, signer in enumerate(signers):
        assert signer.lineage[-1].number == n
        assert broken_link(signer.lineage, pinned) is None
        assert signed(signer.lineage[-1].public, b"text", signer.sign(b"text"))
        assert links(json.loads(json.dumps(stored(signer.lineage)))) == signer.lineage
    assert len({s.lineage[-1].public for s in signers}) == 5


def test_a_lineage_with_a_foreign_key_is_broken(tmp_path: Path) -> None:
    ours = [begin(tmp_path / "a.json") for _ in range(4)][-1].lineage
    theirs = [begin(tmp_path / "b.json") for _ in range(4)][-1].lineage
    pinned = ours[0].public
    assert len(ours) == 3
    for i in range(3):
        mixed = (*ours[:i], theirs[i], *ours[i + 1 :])
        assert broken_link(mixed, pinned) is not None
    assert broken_link(ours[1:], pinned) is not None
    assert broken_link((), pinned) is not None


@pytest.mark.parametrize(("stride", "most"), [(1 << 16, 11), (8, 4 + 1000 // 8)])
def test_a_lineage_stays_short_however_many_logs_there_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stride: int, most: int
) -> None:
    monkeypatch.setattr(keys, "STRIDE", stride)
    key = keys._first(tmp_path / "key.json")
    pinned = key.lineage[0].public
    for number in range(1000):
        assert key.lineage[-1].number == number
        assert len(key.lineage) <= most
        if number % 37 == 0 or number > 990:
            assert broken_link(key.lineage, pinned) is None
        key = keys._next(key)


def test_a_stolen_key_vouches_for_no_earlier_number(tmp_path: Path) -> None:
    """A log that was removed cannot be replaced by one that was made up later."""
    path = tmp_path / "key.json"
    signers = [begin(path) for _ in range(6)]
    stolen, lineage = signers[4], signers[5].lineage
    assert [link.number for link in lineage] == [0, 4, 5]
    for number in (3, 4):
        forged = Link(number, "ab" * 32, "")
        forged = evolve(forged, signature=stolen.sign(forged.message()))
        assert broken_link((*lineage[:2], forged), lineage[0].public) is not None
    renumbered = evolve(lineage[2], number=6)
    assert broken_link((*lineage[:2], renumbered), lineage[0].public) is not None


def test_the_old_seed_is_not_in_the_file_any_more(tmp_path: Path) -> None:
    """What a thief of the file could sign: the next log, and no earlier one."""
    path = tmp_path / "key.json"
    begin(path)
    kept = path.open("rb")  # the old file, as somebody who had it open sees it
    old = json.loads(path.read_text())["seed"]
    begin(path)
    new = json.loads(path.read_text())["seed"]
    assert new == hashlib.sha256(b"edgeguard log: next log" + bytes.fromhex(old)).hexdigest()
    assert old not in path.read_text()
    assert old.encode() not in kept.read()
    kept.close()


def test_the_old_seed_goes_when_the_new_one_is_there_to_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut between the two must leave one of them: the folder is on the disk first."""
    path = tmp_path / "key.json"
    begin(path)
    seed, folders, sync = json.loads(path.read_text())["seed"], 0, os.fsync

    def fsync(fd: int) -> None:
        nonlocal folders
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            folders += 1
            assert seed in old.read()
        sync(fd)

    with path.open() as old:
        monkeypatch.setattr(os, "fsync", fsync)
        begin(path)
        old.seek(0)
        assert folders == 1 and seed not in old.read()


def test_the_signing_key_changes_with_every_seal(tmp_path: Path) -> None:
    signer = begin(tmp_path / "key.json")
    public = signer.lineage[-1].public
    for _ in range(4):
        following = signer.following
        assert signed(public, b"x", signer.sign(b"x"))
        signer.evolve()
        assert not signed(public, b"x", signer.sign(b"x"))
        public = following
    assert signed(public, b"x", signer.sign(b"x"))


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    for _ in range(2):
        begin(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with pytest.raises(EdgeguardError, match="chmod 600"):
        begin(path)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"seed": "zz", "lineage": []}', '{"seed": 3, "lineage": 4}']
)
def test_what_is_no_key_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(EdgeguardError, match=r"key\.json"):
        begin(path)


def test_seed_and_lineage_must_belong_together(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    begin(path)
    raw = json.loads(path.read_text())
    for change in ({"seed": "11" * 32}, {"ahead": []}):
        path.write_text(json.dumps(raw | change))
        with pytest.raises(EdgeguardError, match="belong together"):
            begin(path)


@pytest.mark.parametrize("given", ["", "ab", "AB" * 32, "nowhere.pub"])
def test_what_is_no_public_key(given: str) -> None:
    with pytest.raises(EdgeguardError):
        first_key(given)


def test_a_lost_key_leaves_older_logs_their_public_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "key.json"
    firsts = []
    for _ in range(3):
        firsts.append(begin(path).lineage[0].public)
        path.unlink()
    found = [first_key(str(tmp_path / name)) for name in ("key.pub.1", "key.pub.2", "key.pub")]
    assert found == firsts and len(set(firsts)) == 3
    assert f"older logs are verified with {tmp_path / 'key.pub.1'}" in caplog.text


@pytest.mark.parametrize("name", ["car.pub", "car.PUB"])
def test_a_seed_never_lies_where_the_public_key_is_looked_for(tmp_path: Path, name: str) -> None:
    """The manual says to copy that file off the machine."""
    with pytest.raises(EdgeguardError, match=f"{name}: is where the public key goes; name the"):
        begin(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_run_says_so_before_anything_is_opened(tmp_path: Path) -> None:
    asked = Recording(tmp_path / "x.mcap", tmp_path / "key.pub", None, None, None, None)
    with pytest.raises(EdgeguardError, match=r"--record-key .*key\.pub: is where the public key"):
        check(asked)


def test_two_keys_of_one_stem_do_not_share_a_public_one(tmp_path: Path) -> None:
    first = begin(tmp_path / "car.1").lineage[0].public
    (tmp_path / "car.mcap").write_bytes(b"a log that is called the same")
    with pytest.raises(EdgeguardError, match=r"car\.pub: belongs to .*car\.1; name another"):
        begin(tmp_path / "car.2")
    assert first_key(str(tmp_path / "car.pub")) == first
    assert begin(tmp_path / "car.1").lineage[0].public == first
    assert not (tmp_path / "car.2").exists()


def test_a_public_key_of_something_else_stays_where_it_is(tmp_path: Path) -> None:
    """A bundle's, for instance: the machine would not arm any more."""
    public = tmp_path / "vehicle.pub"
    public.write_text(f"ed25519 {'A' * 43}=\n")
    with pytest.raises(EdgeguardError, match=r"vehicle\.pub: is no key of a log"):
        begin(tmp_path / "vehicle.json")
    assert public.read_text().startswith("ed25519")
    assert not (tmp_path / "vehicle.json").exists()


def test_a_power_cut_at_the_very_first_start_is_no_reason_to_refuse_the_next(
    tmp_path: Path,
) -> None:
    """Whatever it left: the public key alone, that and the unfinished key, an empty file."""
    begin(tmp_path / "key")
    (tmp_path / "key").rename(tmp_path / "key.new")
    assert begin(tmp_path / "key").lineage[0].public == first_key(str(tmp_path / "key.pub"))
    (tmp_path / "key").unlink()
    (tmp_path / "key.pub").write_bytes(b"")
    assert begin(tmp_path / "key").lineage[0].public == first_key(str(tmp_path / "key.pub"))


def test_a_key_that_somebody_keeps_locked_is_told(tmp_path: Path) -> None:
    """Instead of waiting for ever."""
    path = tmp_path / "key.json"
    begin(path)
    seed = json.loads(path.read_text())["seed"]
    with (
        held(tmp_path / "key.json.lock"),
        pytest.raises(EdgeguardError, match=r"key\.json\.lock: another process has locked it"),
    ):
        begin(path)
    assert json.loads(path.read_text())["seed"] == seed


def test_no_other_account_can_lock_the_key(tmp_path: Path) -> None:
    """Whoever can read a file can lock it; those that earlier versions made could be read."""
    lock = tmp_path / "key.json.lock"
    lock.touch()
    lock.chmod(0o644)
    begin(tmp_path / "key.json")
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600


def test_without_a_home_nothing_is_started(
    silent: Bench, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(EdgeguardError, match="set HOME or XDG_CONFIG_HOME"):
        silent.guard.record(log)
    assert not log.exists()
