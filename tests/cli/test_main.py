# SPDX-License-Identifier: Apache-2.0
"""The command line: which errors become one sentence and exit status 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from edgeguard import figures
from edgeguard.cli import main as program
from edgeguard.errors import EdgeguardError
from edgeguard.zoo import models_dir


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (EdgeguardError("x.toml: wrong"), "x.toml: wrong"),
        (PermissionError(13, "Permission denied", "out.json"), "out.json: Permission denied"),
        (FileNotFoundError(2, "No such file or directory", "a"), "a: No such file or directory"),
        (OSError(28, "No space left on device"), "output: No space left on device"),
        (ModuleNotFoundError("no", name="torch.nn"), "needs torch; pip install"),
        (ModuleNotFoundError("no", name="sklearn.datasets"), "edgeguard-monitor[lab]'"),
    ],
)
def test_what_a_user_did_wrong_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception,
    sentence: str,
) -> None:  # fmt: skip
    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setattr(program.Commands, "get_command", lambda *_: failing)
    with pytest.raises(SystemExit) as caught:
        program.main(["check"])
    assert caught.value.code == 2
    shown = capsys.readouterr().err
    assert sentence in shown
    assert len(shown.splitlines()) == 1


@pytest.mark.parametrize("error", [OSError("not over a file"), ModuleNotFoundError(name="ours")])
def test_an_error_of_our_own_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setattr(program.Commands, "get_command", lambda *_: failing)
    with pytest.raises(type(error)):
        program.main(["check"])


def of_an_import() -> None:
    """Ctrl-C during the imports of a compiled package: it says that it could not be imported."""
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as pressed:
        raise ImportError("initialization failed") from pressed


def refused() -> None:
    """The same of a package that a model needs."""
    try:
        of_an_import()
    except ImportError as error:
        raise EdgeguardError(f"needs onnxruntime ({error}): pip install it") from None


@pytest.mark.parametrize("failing", [of_an_import, refused])
def test_ctrl_c_while_a_package_is_imported_is_no_missing_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failing: Any
) -> None:
    monkeypatch.setattr(program.Commands, "get_command", lambda *_: click.command()(failing))
    with pytest.raises(SystemExit) as caught:
        program.main(["check"])
    assert (caught.value.code, capsys.readouterr().err) == (130, "aborted\n")


def test_a_broken_package_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def failing() -> None:
        raise ImportError("libfoo.so: cannot open shared object file")

    monkeypatch.setattr(program.Commands, "get_command", lambda *_: failing)
    with pytest.raises(ImportError, match=r"libfoo"):
        program.main(["check"])


BUFFERED = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}


def run(*arguments: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    streams.setdefault("stderr", subprocess.PIPE)
    command = [sys.executable, "-m", "edgeguard", *arguments]
    return subprocess.run(command, text=True, check=False, env=BUFFERED, **streams)


@pytest.mark.parametrize("arguments", [("check", "--defaults"), ("--help",), ("--version",)])
def test_a_verdict_that_nobody_hears_is_none(arguments: tuple[str, ...]) -> None:
    """Neither the 0 of a log that is whole, nor the 1 of one that was changed: a pipe without a
    reader ends it as a shell's tools end."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = run(*arguments, stdout=write_end)
    assert (done.returncode, done.stderr) == (program.READER_LEFT, "")
    silent = run("verify-log", "no-such.mcap", stdout=write_end, stderr=write_end)
    os.close(write_end)
    assert silent.returncode == program.READER_LEFT


def test_a_full_disk_is_no_verdict_either() -> None:
    with open("/dev/full", "w") as full:
        done = run("check", "--defaults", stdout=full)
    assert (done.returncode, done.stderr) == (2, "output: No space left on device\n")


def test_a_name_that_no_file_can_have_is_named(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = json.loads((models_dir() / "plain.card.json").read_text()) | {"labels": "\0"}
    (tmp_path / "plain.card.json").write_text(json.dumps(card))
    policy.write_text(policy.read_text().replace("package:gtsrb/plain", "plain.onnx"))
    with pytest.raises(SystemExit) as caught:
        program.main(["check", str(policy)])
    assert caught.value.code == 2
    assert "plain.card.json: labels: " in (shown := capsys.readouterr().err)
    assert "\\x00': cannot be read: embedded null byte" in shown


def test_a_pipe_of_our_own_that_breaks_is_no_reader_that_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def failing() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(program.Commands, "get_command", lambda *_: failing)
    with pytest.raises(SystemExit) as caught:
        program.main(["check"])
    assert caught.value.code == 2
    assert "was closed" in capsys.readouterr().err


def test_figures_that_find_no_room_are_named() -> None:
    with pytest.raises(EdgeguardError, match=r"^/dev/full: No space left on device$"):
        figures.write(Path("/dev/full"), [], None, [])
