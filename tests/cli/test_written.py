# SPDX-License-Identifier: Apache-2.0
"""What a command writes replaces nothing that it reads, and a failure costs nothing that was."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeguard.card import Card
from edgeguard.cli.main import main
from edgeguard.config.definition import model_keys
from edgeguard.evidence.calibration_file import model_table
from edgeguard.written import text, together, whole
from edgeguard.zoo import models_dir
from tests.cli.running import POLICY
from tests.cli.running import run as run_guard

LOST = "is read here, and would be lost"


@contextlib.contextmanager
def room(bytes_: int) -> Iterator[None]:
    """No file can get larger, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edgeguard(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(a) for a in arguments])
    return int(done.value.code or 0)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A guard.toml with model, card and golden vectors beside it, and a calibration."""
    for name in ("plain.onnx", "plain.card.json", "plain.golden.npz", "labels.json"):
        shutil.copy(models_dir() / name, tmp_path / name)
    text = POLICY.replace("package:gtsrb/plain", "plain.onnx")
    text = text.replace("period_ms = 10", 'period_ms = 10\ncalibration = "fitted.toml"', 1)
    label = json.loads((models_dir() / "labels.json").read_text())[2]
    (tmp_path / "guard.toml").write_text(
        f'{text}\n[channel.target_speed.means]\n"{label}" = 13.8\n'
    )
    card = Card.beside(tmp_path / "plain.onnx")
    (tmp_path / "fitted.toml").write_text(model_table("plain", model_keys(card)))
    return tmp_path


READ = ("guard.toml", "plain.onnx", "plain.card.json", "plain.golden.npz", "labels.json",
        "fitted.toml")  # fmt: skip


def test_check_and_run_write_over_nothing_that_the_guard_reads(
    own: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = contents(own)
    for name in READ:
        assert edgeguard("check", own / "guard.toml", "--json", own / name) == 2
        assert f"--json {own / name}: {LOST}" in capfd.readouterr().err
    for name in ("plain.card.json", "fitted.toml"):
        done = run_guard(own / "guard.toml", "--source", "simulated", "--sink", name)
        assert (done.returncode, f"--sink {name}: {LOST}" in done.stderr) == (2, True)
    assert contents(own) == before
    assert edgeguard("check", own / "guard.toml", "--json", own / "new.json") == 0


def test_nobody_loses_a_secret_to_an_output(
    own: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The operator's token that guard.toml names, and the keys that a board has in its flash."""
    (own / "op.token").write_text("of a person, and long enough")
    with open(own / "guard.toml", "a") as policy:
        policy.write('\n[telemetry]\ntoken_file = "op.token"\n')
    usual = own / "edgeguard" / "mcu-keys.json"
    usual.parent.mkdir()
    usual.write_text("{}")
    before = contents(own)
    assert edgeguard("check", own / "guard.toml", "--json", own / "op.token") == 2
    assert f"--json {own / 'op.token'}: {LOST}" in capfd.readouterr().err
    for sink, more in (("op.token", ()), (str(usual), ("--mcu", "twin"))):
        asked = ("--source", "simulated", "--sink", sink, *more)
        done = run_guard(own / "guard.toml", *asked, XDG_CONFIG_HOME=str(own))
        assert (done.returncode, f"--sink {sink}: {LOST}" in done.stderr) == (2, True)
    assert contents(own) == before


@pytest.mark.parametrize("command", ["inject", "drive", "lab flips", "lab common-mode"])
def test_no_figures_take_the_place_of_what_the_guard_reads(
    own: Path, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    before = contents(own)
    for name in ("fitted.toml", "plain.card.json"):
        assert edgeguard(*command.split(), own / "guard.toml", "--json", own / name) == 2
        assert f"--json {own / name}: {LOST}" in capfd.readouterr().err
    assert contents(own) == before


@pytest.mark.parametrize(
    "line", ["inject X --json X", "drive X --json X", "lab flips X --json X", "mcu policy X -o X"]
)
def test_no_output_takes_the_place_of_a_bundle(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    pytest.importorskip("cryptography", reason="bundles are signed")
    for name in ("EDGEGUARD_STATE", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    bundle = tmp_path / "x.egb"
    shutil.copy(models_dir() / "demo.egb", bundle)
    before = bundle.read_bytes()
    assert edgeguard(*(str(bundle) if word == "X" else word for word in line.split())) == 2
    assert f"{bundle}: {LOST}" in capfd.readouterr().err
    assert bundle.read_bytes() == before


def test_no_table_takes_the_place_of_the_keys_or_of_the_policy(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    shutil.copytree(models_dir(), tmp_path, dirs_exist_ok=True)
    keys, policy = tmp_path / "k.json", tmp_path / "guard.toml"
    assert edgeguard("mcu", "policy", policy, "--keys", keys, "-o", tmp_path / "t.c") == 0
    assert edgeguard("mcu", "policy", policy, "-o", tmp_path / "t.c") == 0  # makes the usual keys
    before = contents(tmp_path)
    usual = tmp_path / "home" / "edgeguard" / "mcu-keys.json"
    for out, given in ((keys, ["--keys", keys]), (policy, ["--keys", keys]), (usual, [])):
        assert edgeguard("mcu", "policy", policy, *given, "-o", out) == 2
        assert f"--out {out}: {LOST}" in capfd.readouterr().err
    assert contents(tmp_path) == before


def test_what_belongs_together_is_written_together_or_not_at_all(tmp_path: Path) -> None:
    arrays, text, link = (tmp_path / name for name in ("c.npz", "c.toml", "link.toml"))
    text.write_bytes(b"of before")
    link.symlink_to(text)
    with room(4096), pytest.raises(OSError, match="File too large"):
        together({arrays: bytes(100), link: bytes(5000)})
    assert contents(tmp_path) == {text: b"of before", link: b"of before"}
    with pytest.raises(IsADirectoryError):
        together({arrays: b"a", tmp_path: b"b"})
    assert not arrays.exists()
    together({arrays: b"a", link: b"b"})
    assert contents(tmp_path) == {arrays: b"a", text: b"b", link: b"b"}
    assert link.is_symlink()


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize("kept", [{}, {"c.npz": b"arrays of before"}], ids=["new", "replaced"])
def test_a_swap_that_fails_leaves_no_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: dict[str, bytes], links: bool
) -> None:
    """New arrays beside an old file are none of its; an interrupt comes as it likes. A file that
    has the name of a part is the user's own."""
    before = {"c.toml": b"of before", "c.npz.part": b"mine", "c.toml.part": b"mine", **kept}
    for name, data in before.items():
        (tmp_path / name).write_bytes(data)
    swap = os.replace

    def interrupted(part: Path, path: Path) -> None:
        if path.suffix == ".toml":
            raise KeyboardInterrupt
        swap(part, path)

    def no_link(place: Path, aside: Path) -> None:
        raise PermissionError(1, "Operation not permitted")  # as FAT says

    files = {tmp_path / "c.npz": b"a", tmp_path / "c.toml": b"b"}
    if not links:
        monkeypatch.setattr(os, "link", no_link)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            together(files)
    old = {tmp_path / name: data for name, data in before.items()}
    assert contents(tmp_path) == old
    together(files)
    assert contents(tmp_path) == old | files


def test_a_file_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), whole(tmp_path / "x.npz") as made:
        made.write(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with whole(tmp_path / "x.npz") as made:
        made.write(b"all")
        assert not [*tmp_path.glob("*.npz")], "whoever is killed here leaves none to be read"
    assert contents(tmp_path) == {tmp_path / "x.npz": b"all"}


def test_a_file_is_replaced_where_neither_modes_nor_links_nor_times_can_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on FAT, and on a share that somebody else has mounted."""

    def not_ours(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    files = {tmp_path / "a": b"new", tmp_path / "b": b"new"}
    (tmp_path / "a").write_bytes(b"of before")
    for name in ("chmod", "link", "utime"):
        monkeypatch.setattr(os, name, not_ours)
    together(files)
    assert contents(tmp_path) == files


def test_a_file_that_is_mounted_by_itself_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As containers do; nothing else can take its place, and no link leads out of the mount. It
    goes back as well when the other one fails."""
    swap, mounted = os.replace, tmp_path / "a.npz"

    def busy(part: Path, path: Path) -> None:
        if path == mounted:
            raise OSError(errno.EBUSY, "Device or resource busy")
        if path.name == "b.toml":
            raise KeyboardInterrupt
        swap(part, path)

    def no_link(place: Path, aside: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    mounted.write_bytes(b"of before")
    monkeypatch.setattr(os, "link", no_link)
    inode = mounted.stat().st_ino
    monkeypatch.setattr(os, "replace", busy)
    with pytest.raises(KeyboardInterrupt):
        together({mounted: b"new", tmp_path / "b.toml": b"new"})
    assert contents(tmp_path) == {mounted: b"of before"}
    text(mounted, "new")
    assert contents(tmp_path) == {mounted: b"new"}
    assert mounted.stat().st_ino == inode


def test_what_may_not_be_written_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by a new file of its name; but one in a folder that takes no other is written to."""
    file, forbidden = tmp_path / "a.json", {tmp_path / "a.json"}
    file.write_text("of before")
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) not in forbidden)  # root may
    with pytest.raises(PermissionError), whole(file):
        pass
    assert contents(tmp_path) == {file: b"of before"}
    forbidden = {tmp_path}
    inode = file.stat().st_ino
    text(file, "new")
    assert (contents(tmp_path), file.stat().st_ino) == ({file: b"new"}, inode)
