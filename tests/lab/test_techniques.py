# SPDX-License-Identifier: Apache-2.0
"""`edgeguard lab evaluate techniques`: results files in, one row for each technique out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeguard.cli.lab_defend import NAMES
from edgeguard.cli.main import cli
from edgeguard.errors import EdgeguardError
from edgeguard.figures import Figure, write
from edgeguard.lab.techniques import STAGES, TECHNIQUES, Technique, cells, read


def technique(name: str) -> Technique:
    return next(t for t in TECHNIQUES if t.name == name)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    share = (0.1, 0.3)
    write(tmp_path / "card.json", [
        Figure("defend.plain.squeezing.static.pgd", 0.2, "1", 40, share),
        Figure("defend.plain.squeezing.static.cw", 0.5, "1", 10, share),
        Figure("defend.plain.squeezing.adaptive.linf.4", 0.46, "1", 40, share),
        Figure("defend.plain.squeezing.coverage", 0.88, "1", 1200, share),
        Figure("defend.robust.squeezing.static.pgd", 0.1, "1", 40, share),
    ], 0, ())  # fmt: skip
    return tmp_path / "card.json"


def test_a_card_fills_its_row_and_another_members_does_not(results: Path) -> None:
    row = technique("adversarial detection: squeezing")
    static, adaptive, clean = cells(row, read([results]), "plain")
    assert static == "pgd 20.0% (n = 40)\ncw 50.0% (n = 10)"
    assert adaptive == "linf.4 46.0% (n = 40)"
    assert clean == "squeezing.coverage 88.0% (n = 1,200)"


def test_what_was_not_measured_names_its_command_and_what_is_not_there_says_so() -> None:
    missing = {t.name: cells(t, {}, "plain")[0] for t in TECHNIQUES}
    assert missing["network distillation"] == "not measured: edgeguard lab defend distillation"
    assert missing["watermarking"] == "not built"
    assert all(missing.values())


def test_the_commands_that_it_names_exist() -> None:
    for told in {t.command for t in TECHNIQUES if t.command}:
        words = told.split(" --")[0].split()
        if words[:2] == ["lab", "defend"]:
            assert words.pop() in NAMES
        assert CliRunner().invoke(cli, [*words, "--help"]).exit_code == 0, told
    assert all(t.stage in STAGES for t in TECHNIQUES)


def test_the_command_prints_every_technique_once(results: Path) -> None:
    done = CliRunner().invoke(cli, ["lab", "evaluate", "techniques", str(results)])
    assert done.exit_code == 0
    assert "pgd 20.0%" in done.output
    assert done.output.count("watermarking") == 1


def test_a_member_that_no_figure_is_about_is_refused(results: Path) -> None:
    asked = ["lab", "evaluate", "techniques", str(results), "--member"]
    assert CliRunner().invoke(cli, [*asked, "robust"]).exit_code == 0
    for nobody in ("nobody", "*"):
        done = CliRunner().invoke(cli, [*asked, nobody])
        assert done.exit_code != 0
        said = f"--member {nobody}: no figure of the given files is of it; they name plain, robust"
        assert said in str(done.exception) + done.output
    write(results, [Figure("inject.total.wrong_commands", 7)], 0, ())
    done = CliRunner().invoke(cli, [*asked, "plain"])
    assert "they name none" in str(done.exception) + done.output


def test_no_results_file_at_all_is_refused() -> None:
    """Of a pattern that fits no file a shell may make nothing."""
    done = CliRunner().invoke(cli, ["lab", "evaluate", "techniques"])
    assert done.exit_code == 2
    assert "techniques: name results files" in done.output


GUARD = "guard.hazard.linf.4"


def test_two_files_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    for name, value, took in (("a", 0.25, 1.0), ("b", 0.5, 2.0), ("c", 0.25, 3.0)):
        made = [Figure(GUARD, value, "1", 8), Figure("verify.x.seconds", took, "s per picture")]
        write(tmp_path / f"{name}.json", made, 0, ())
    a, b, c = (tmp_path / f"{name}.json" for name in "abc")
    said = rf"a\.json and .*b\.json: {GUARD} is 0\.25 in one and 0\.5 in the other"
    with pytest.raises(EdgeguardError, match=said):
        read([a, b])
    assert read([a, c])[GUARD]["value"] == 0.25  # no technique shows the seconds
    write(b, [Figure(GUARD, float("nan"), "1", 0)], 0, ())
    assert read([a, b])[GUARD]["value"] == 0.25  # there it was not measured


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("NaN", "its value is NaN; want a finite number"),
        ('"0.5"', 'its value is "0.5"; want a finite number'),
        ("true", "its value is true; want a finite number"),
        ("7.5", "a share lies from 0 to 1, this is 7.5"),
        ("-1", "a share lies from 0 to 1, this is -1"),
    ],
)
def test_what_is_no_share_is_named(tmp_path: Path, value: str, said: str) -> None:
    file = tmp_path / "odd.json"
    file.write_text(f'{{"figures": [{{"id": "{GUARD}", "value": {value}}}]}}')
    with pytest.raises(EdgeguardError, match=rf"odd\.json: {GUARD}: {said}"):
        read([file])


def test_what_is_certified_is_what_no_attacker_has(tmp_path: Path) -> None:
    write(tmp_path / "verify.json", [
        Figure("verify.ibp.certified.1", 0.64, "1", 100, (0.5, 0.7)),
        Figure("verify.ibp.falsified.1", 0.2, "1", 100, (0.1, 0.3)),
    ], 0, ())  # fmt: skip
    row = technique("DNN verification")
    assert cells(row, read([tmp_path / "verify.json"]), "plain")[:2] == (
        "ibp.falsified.1 20.0% (n = 100)", "not ibp.certified.1 36.0% (n = 100)"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        ("techniques --json out.json", "techniques takes no --json"),
        ("techniques --quick", "techniques takes no --quick"),
        ("can --data few.npz", "can takes no --data"),
        ("can --quick", "can takes no --quick"),
        ("can --ood", "can takes no --ood"),
        ("gtsrb --ood --data few.npz", "gtsrb --ood takes no --data"),
        ("gtsrb --ood --quick", "gtsrb --ood takes no --quick"),
        ("gtsrb --member robust", "gtsrb takes no --member"),
        ("gtsrb out.json", "gtsrb takes no results files; meant: techniques out.json"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(arguments: str, refused: str) -> None:
    done = CliRunner().invoke(cli, ["lab", "evaluate", *arguments.split()])
    assert done.exit_code == 2
    assert refused in done.output


def test_what_is_no_results_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps({"name": "squeezing"}))
    with pytest.raises(EdgeguardError, match=r"other\.json: no results file"):
        read([tmp_path / "other.json"])
    with pytest.raises(EdgeguardError, match=r"gone\.json: No such file"):
        read([tmp_path / "gone.json"])
