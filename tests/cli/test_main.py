# SPDX-License-Identifier: Apache-2.0
"""The command line: which errors become one sentence and exit status 2."""

from __future__ import annotations

import click
import pytest

from edgeguard.cli import main as program
from edgeguard.errors import EdgeguardError


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (EdgeguardError("x.toml: wrong"), "x.toml: wrong"),
        (PermissionError(13, "Permission denied", "out.json"), "out.json: Permission denied"),
        (FileNotFoundError(2, "No such file or directory", "a"), "a: No such file or directory"),
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
