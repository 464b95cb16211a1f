# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeguard import _core, _isolation
from edgeguard.cli.main import COMMANDS, main
from edgeguard.config.vocabulary import CAUSES
from edgeguard.zoo import models_dir

FULL = Path(__file__).parents[1] / "config" / "full"


@pytest.fixture
def guard_toml(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FULL, tmp_path / "full")) / "guard.toml"


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(a) for a in arguments])
    return int(done.value.code or 0)


def test_a_valid_file_is_printed_as_tables(
    guard_toml: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run("check", guard_toml) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80
    for cause in CAUSES:
        assert cause in out
    for said in ("sign-speed", "target_speed", "plain", "2 of 2", "0.98", "5.56 m/s", "black_share",
                 "itself", "SAFE_STOP*", "0 to 22.2", "3020"):  # fmt: skip
        assert said in out, said


def test_what_is_allowed_and_may_still_surprise_is_noted(
    guard_toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = json.loads(guard_toml.with_name("plain.card.json").read_text())
    guard_toml.with_name("compact.card.json").write_text(json.dumps(card))
    assert run("check", guard_toml, "--json") == 0
    notes = "\n".join(json.loads(capsys.readouterr().out)["notes"])
    assert "member.compact: the same file as member.plain" in notes
    assert "channel.steering: no degraded envelope" in notes
    blind = "camera.front: no member or detector that runs here looks through it"
    assert blind not in notes  # [detector.dark] does
    text = guard_toml.read_text()
    dark = text[text.index("[detector.dark]") : text.index("[detector.odd]")]
    guard_toml.write_text(text.replace(dark, ""))
    assert run("check", guard_toml, "--json") == 0
    assert blind in "\n".join(json.loads(capsys.readouterr().out)["notes"])


def noted(file: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert run("check", file, "--json") == 0
    return "\n".join(json.loads(capsys.readouterr().out)["notes"])


def test_a_rule_of_ones_own_is_not_imported_and_that_is_noted(
    guard_toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = guard_toml.read_text()
    guard_toml.write_text(text.replace('"slow_and_hold", floor = 0.0', '"nowhere:rule"'))
    said = noted(guard_toml, capsys)
    assert "its rule is nowhere:rule, Python code of this machine: not imported here" in said


def test_members_whose_file_nobody_knows_are_not_called_the_same(
    guard_toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("plain", "compact"):
        card = guard_toml.with_name(f"{name}.card.json")
        card.write_text(json.dumps(json.loads(card.read_text()) | {"sha256": "0" * 64}))
    assert "the same file" not in noted(guard_toml, capsys)


@pytest.mark.parametrize(("certainty", "free"), [("0.2", True), ("0.201", False)])
def test_a_certainty_that_refuses_nothing_is_noted(
    guard_toml: Path, capsys: pytest.CaptureFixture[str], certainty: str, free: bool
) -> None:
    text = guard_toml.read_text()
    guard_toml.write_text(text.replace("certainty = 0.98,", f"certainty = {certainty},"))
    said = noted(guard_toml, capsys)
    named = f"target_speed.raise: certainty {certainty} refuses nothing that is said by plain (5 "
    assert (named in said) == free
    assert "channel.steering.raise: certainty" not in said  # numbers have none


def test_a_vote_that_may_lapse_before_the_next_answer_is_noted(
    guard_toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    age = "max_age_ms = 300\nmay_suggest = ["
    assert "its vote lapses" not in noted(guard_toml, capsys)
    guard_toml.write_text(guard_toml.read_text().replace(age, age.replace("300", "129")))
    assert "member.lane: max_age_ms 129 is shorter than" in noted(guard_toml, capsys)


@pytest.mark.parametrize(
    ("cause", "limit_ms", "said"),
    [
        ("STALE_MODEL", 300, "max_age_ms of the members (300 ms)"),
        ("FRAME_LOST", 250, "max_age_ms of a camera (250 ms)"),
        ("TIME_FAULT", 100, "max_gap_ms (100 ms)"),
    ],
)
def test_a_cause_that_waits_longer_than_its_limit_is_noted(
    guard_toml: Path, capsys: pytest.CaptureFixture[str], cause: str, limit_ms: int, said: str
) -> None:
    text = guard_toml.read_text()
    guard_toml.write_text(f"{text}\n[cause.{cause}]\non_ms = {limit_ms}\noff_ms = 600\n")
    assert "is longer than" not in noted(guard_toml, capsys)
    guard_toml.write_text(f"{text}\n[cause.{cause}]\non_ms = {limit_ms + 1}\noff_ms = 600\n")
    assert f"cause.{cause}: on_ms {limit_ms + 1} is longer than {said}" in noted(guard_toml, capsys)


@pytest.mark.parametrize(
    ("names", "operations"),
    [("", ""), ("ab?", ""), ("aa?", "lower"), ("aaa", "raise lower"), ("aab", "lower")],
)
def test_a_quorum_that_lives_in_one_process_is_noted(
    names: str, operations: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Raising asks for three members, lowering for two."""
    guard_toml = Path(shutil.copytree(models_dir(), tmp_path / "gtsrb")) / "guard.toml"
    head, *members = guard_toml.read_text().split('isolation = "process"\n')
    own = [f'process = "{n}"\n' if n != "?" else "" for n in names or "???"]
    guard_toml.write_text(head + "".join(n + m for n, m in zip(own, members, strict=True)))
    said = noted(guard_toml, capsys)
    for operation in ("raise", "lower"):
        fits = f"channel.target_speed.{operation}: the quorum of" in said
        assert fits is (operation in operations.split())


def test_what_this_kernel_does_not_give_to_workers_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_isolation, "landlock_abi", lambda: 0)
    monkeypatch.setattr(_isolation, "has_seccomp", lambda: False)
    guard_toml = Path(shutil.copytree(models_dir(), tmp_path / "gtsrb")) / "guard.toml"
    text = guard_toml.read_text()
    text = text.replace('isolation = "process"', 'process = "eyes"', 1)
    guard_toml.write_text(text.replace('isolation = "process"', 'isolation = "none"', 1))
    assert run("check", guard_toml, "--json") == 0
    out = json.loads(capsys.readouterr().out)
    notes = "\n".join(out["notes"])
    for what in out["isolation_lacks"]:
        assert f"workers: this kernel does not give {what}" in notes
    assert "Landlock: a worker can read what we can" in notes
    assert "seccomp: a worker can call all of the kernel" in notes
    assert out["members"]["plain"]["process"] == "process eyes"
    assert out["members"]["robust"]["process"] == "own process"
    assert 'member.compact: isolation = "none": ' in notes
    assert "member.robust: isolation" not in notes


def test_what_is_wrong_goes_to_stderr_with_exit_code_2(
    guard_toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guard_toml.write_text(guard_toml.read_text().replace("rise = 1.5\nfall = 4.0", "rise = 1.5"))
    assert run("check", guard_toml) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{guard_toml}:")
    assert "channel.target_speed.fall: missing; without it the channel may drop in one step" in err
    assert "Traceback" not in err


def test_json_is_the_same_for_a_machine(
    guard_toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", guard_toml, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert list(data["causes"]) == list(CAUSES)
    assert data["causes"]["FROZEN_INPUT"]["bound_ms"] == 80
    assert data["causes"]["FROZEN_INPUT"]["bound_flapping_ms"] == 620
    _core.Policy(data["policy"])

    file = guard_toml.with_name("out.json")
    assert run("check", guard_toml, "--json", file) == 0
    assert json.loads(file.read_text()) == data
    assert run("check", guard_toml, "--json", guard_toml.parent) != 0
    assert "Traceback" not in capsys.readouterr().err


def test_the_default_rows_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "--defaults") == 0
    out = capsys.readouterr().out
    assert "[cause.FROZEN_INPUT] # the same picture again" in out


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (("chekc", "x"), "did you mean check?"),
        (("zzz",), "known: init, check"),
        (("check",), "name the guard.toml"),
        (("check", "nowhere.toml"), "nowhere.toml: no such file"),
        (("check", "--jsno", "x"), "--json"),
    ],
)
def test_a_slip_of_the_keyboard_is_answered_in_one_sentence(
    arguments: tuple[str, ...], phrase: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    err = capsys.readouterr().err
    assert phrase in err
    assert "Traceback" not in err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("edgeguard ")
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)


def test_a_missing_package_is_named_with_its_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(name: str) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("edgeguard.cli.main.importlib.import_module", without)
    assert run("lab", "evaluate") == 2
    assert "needs torch; pip install 'edgeguard-monitor[lab]'" in capsys.readouterr().err


def test_labels_are_printed_as_they_are(
    guard_toml: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    odd = "[/red] :smile: ü"
    for name in ("plain", "compact"):
        file = guard_toml.with_name(f"{name}.card.json")
        file.write_text(file.read_text().replace('"stop"', json.dumps(odd)))
    text = guard_toml.read_text().replace('stop = 0.0\n"keep', f'"{odd}" = 0.0\n"keep')
    guard_toml.write_text(text)
    assert run("check", guard_toml) == 0
    assert odd in capsys.readouterr().out


def test_check_opens_no_ml_runtime(guard_toml: Path) -> None:
    code = (
        "import sys\nfrom edgeguard.cli.main import main\n"
        "try:\n    main(['check', sys.argv[1]])\nexcept SystemExit as done:\n"
        "    assert not done.code, done.code\n"
        "heavy = {'onnxruntime', 'ai_edge_litert', 'tflite_runtime', 'torch', 'cv2', 'PIL'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(guard_toml)],
        env={**os.environ, "TERM": "dumb", "COLUMNS": "80", "PYTHONIOENCODING": "ascii"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout


def test_import_edgeguard_brings_no_configuration_libraries() -> None:
    code = (
        "import sys, edgeguard\n"
        "print({'attr', 'attrs', 'cattrs', 'click', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
