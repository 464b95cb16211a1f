# SPDX-License-Identifier: Apache-2.0
"""Requirements: what they name exists, none is without evidence, and the matrix is theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "native" / "core" / "quality" / "requirements.py"
DOCUMENT = ROOT / "docs" / "requirements.md"


def run(*options: str | Path) -> tuple[int, str]:
    """Exit code and what is printed."""
    line = [sys.executable, SCRIPT, *options]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def changed(folder: Path, *changes: tuple[str, str]) -> Path:
    """A copy of the document with its first `old` replaced by `new`, each of which is there."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    copy = folder / DOCUMENT.name
    copy.write_text(text, encoding="utf-8")
    return copy


def without(folder: Path, id: str, keys: tuple[str, ...]) -> Path:
    """A copy of the document without these lines of one requirement."""
    before, title, after = DOCUMENT.read_text(encoding="utf-8").partition(f"### {id}\n")
    own, blank, rest = after.partition("\n\n")
    kept = [line for line in own.splitlines() if not line.startswith(keys)]
    copy = folder / DOCUMENT.name
    copy.write_text("".join((before, title, "\n".join(kept), blank, rest)), encoding="utf-8")
    return copy


def test_the_matrix_in_the_docs_is_what_follows() -> None:
    code, said = run("--check")
    assert code == 0, said


def test_a_requirement_without_evidence_is_none(tmp_path: Path) -> None:
    evidence = ("- proof", "- test", "- run")
    code, said = run("--document", without(tmp_path, "REQ-CORE-16", evidence))
    assert code == 1
    assert "REQ-CORE-16: no evidence" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "requirements-matrix.md").exists()


def test_a_figure_alone_is_no_evidence(tmp_path: Path) -> None:
    code, said = run("--document", without(tmp_path, "REQ-MCU-21", ("- test",)))
    assert code == 1
    assert "REQ-MCU-21: no evidence" in said


def test_what_is_named_and_not_there_is_named(tmp_path: Path) -> None:
    gone = {
        "code": ("`eg_asks_operator`", "eg_asks_nobody"),
        "proof": ("MODE-1", "MODE-99"),
        "test": ("core/test_time.c:ages_saturate", "core/test_time.c:ages_fly"),
        "run": ("`make traces`", "make believe"),
        "figure": ("`mcu.F24.wrong_commands`", "mcu.F09.wrong_commands"),
    }
    code, said = run("--document", changed(tmp_path, *gone.values()))
    assert code == 1
    for key, (_, new) in gone.items():
        assert f"no such {key}: {new}\n" in said
    # and the function that the first change left without a requirement
    assert "causes.c: eg_asks_operator: no requirement asks for it" in said
    assert len(said.splitlines()) == len(gone) + 1


def test_a_figure_that_no_command_prints_is_none(tmp_path: Path) -> None:
    for new in ("mcu.F13.rumours", "rumours"):
        code, said = run("--document", changed(tmp_path, ("mcu.F24.wrong_commands", new)))
        assert code == 1
        assert f"no such figure: {new}\n" in said


def test_a_test_must_be_run(tmp_path: Path) -> None:
    """A pytest function by its prefix; a helper of a C test, or one of another file, is none."""
    none = (
        "tests/faults/test_inject.py::slow_to_stop",
        "core/test_time.c:order_does_not_matter",
        "core/test_link_rules.c:corrupt",
        "core/test_vote.c",
        "nowhere/test_vote.c:order_does_not_matter",
    )
    old = "core/test_vote.c:order_does_not_matter"
    code, said = run("--document", changed(tmp_path, (old, "`, `".join(none))))
    assert code == 1
    assert [line.rpartition(": ")[2] for line in said.splitlines()] == list(none)


def test_an_old_matrix_is_found(tmp_path: Path) -> None:
    copy = changed(tmp_path)
    assert run("--document", copy)[0] == 0
    made = tmp_path / "requirements-matrix.md"
    assert made.read_text() == DOCUMENT.with_name(made.name).read_text()
    assert run("--document", copy, "--check")[0] == 0
    made.write_text(made.read_text().replace("MODE-1", "MODE-2", 1))
    code, said = run("--document", copy, "--check")
    assert code == 1
    assert "make it again" in said


def test_what_cannot_be_read_has_its_line(tmp_path: Path) -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    at = lines.index("### REQ-CORE-02") + 1
    for old, new, line, words in (
        ("### REQ-CORE-02", "### REQ-CORE-2", at, "want ### REQ-NAME-00"),
        ("### REQ-CORE-02", "### REQ-CORE-01", at, "is there twice"),
        ("- why: replayed", "- reason: replayed", at + 2, "want one `- key: ...`"),
    ):
        code, said = run("--document", changed(tmp_path, (old, new)))
        assert code == 1
        assert f"requirements.md:{line}: " in said
        assert words in said
