# SPDX-License-Identifier: Apache-2.0
"""Keys evolve: the first public key vouches for every log, and no key can be had from a later."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")


from edgeguard.errors import EdgeguardError
from edgeguard.output.recorder.keys import begin, broken_link, first_key, links, signed, stored


def test_each_log_has_its_own_key_that_the_first_one_vouches_for(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    signers = [begin(path) for _ in range(5)]
    pinned = first_key(str(tmp_path / "key.pub"))
    for n, signer in enumerate(signers):
        assert len(signer.lineage) == n + 1
        assert broken_link(signer.lineage, pinned) is None
        assert signed(signer.lineage[-1].public, b"text", signer.sign(b"text"))
        assert links(json.loads(json.dumps(stored(signer.lineage)))) == signer.lineage
    assert len({s.lineage[-1].public for s in signers}) == 5


def test_a_lineage_with_a_foreign_key_is_broken(tmp_path: Path) -> None:
    ours = [begin(tmp_path / "a.json") for _ in range(3)][-1].lineage
    theirs = [begin(tmp_path / "b.json") for _ in range(3)][-1].lineage
    pinned = ours[0].public
    for i in range(3):
        mixed = (*ours[:i], theirs[i], *ours[i + 1 :])
        assert broken_link(mixed, pinned) is not None
    assert broken_link(ours[1:], pinned) is not None
    assert broken_link((), pinned) is not None


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
    raw["seed"] = "11" * 32
    path.write_text(json.dumps(raw))
    with pytest.raises(EdgeguardError, match="belong together"):
        begin(path)


@pytest.mark.parametrize("given", ["", "ab", "AB" * 32, "nowhere.pub"])
def test_what_is_no_public_key(given: str) -> None:
    with pytest.raises(EdgeguardError):
        first_key(given)
