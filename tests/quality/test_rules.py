# SPDX-License-Identifier: Apache-2.0
"""Static rules: each tool's findings arrive, and code and document must agree place for place."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUALITY = ROOT / "native" / "core" / "quality"
sys.path.insert(0, str(QUALITY))

import analysers  # noqa: E402
import rules  # noqa: E402

tools = pytest.mark.skipif(
    shutil.which("cppcheck") is None or shutil.which("clang-tidy-19") is None,
    reason="needs cppcheck and clang-tidy-19: apt-get install -y cppcheck clang-tidy-19",
)
FILE = analysers.CORE / "crc.c"


def finding(rule: str, line: int, file: Path = FILE) -> analysers.Finding:
    return analysers.Finding(rule, file, line, 1)


def document(folder: Path, *rows: str) -> Path:
    file = folder / "misra.md"
    file.write_text("\n".join(["# Rules", "", *rows]) + "\n", encoding="utf-8")
    return file


def compared(file: Path, *found: analysers.Finding, whole: bool = True) -> list[str]:
    return rules.compare(rules.places(set(found)), rules.read(file), file.name, whole)


def test_what_is_argued_passes(tmp_path: Path) -> None:
    file = document(tmp_path, "| `12.1` | 3 | crc.c 2, edgeguard/core.h 1 | it reads well |")
    header = analysers.CORE / "include" / "edgeguard" / "core.h"
    found = [finding("12.1", 3), finding("12.1", 4), finding("12.1", 9, header)]
    assert compared(file, *found) == []


def test_what_is_not_named_is_found(tmp_path: Path) -> None:
    file = document(tmp_path, "| `12.1` | 1 | crc.c 1 | it reads well |")
    other = analysers.FIRMWARE / "mcu.c"
    said = compared(file, finding("12.1", 3), finding("12.2", 4), finding("12.1", 5, other))
    assert said == [
        "firmware_bridge/mcu/mcu.c:5: 12.1 is not argued in misra.md",
        "native/core/crc.c:4: 12.2 is not argued in misra.md",
    ]


def test_one_more_or_less_is_found(tmp_path: Path) -> None:
    file = document(tmp_path, "| `12.1` | 2 | crc.c 2 | it reads well |")
    more = [finding("12.1", line) for line in (3, 4, 5)]
    for found in (more, more[:1]):
        (said,) = compared(file, *found)
        assert f"2 argued, {len(found)} found" in said
    assert compared(file, more[0], whole=False) == []
    assert len(compared(file, *more, whole=False)) == 1


def test_a_form_may_come_any_number_of_times_where_it_is_named(tmp_path: Path) -> None:
    file = document(tmp_path, "| `15.5` | any | crc.c, flow.c | flat |")
    flow = finding("15.5", 9, analysers.CORE / "flow.c")
    for n in (1, 5):
        assert compared(file, flow, *(finding("15.5", line) for line in range(n))) == []
    assert compared(file, flow) == ["misra.md:3: 15.5 in crc.c: not found any more"]
    (said,) = compared(file, flow, finding("15.5", 1), finding("15.5", 7, analysers.CORE / "e2e.c"))
    assert said == "native/core/e2e.c:7: 15.5 is not argued in misra.md"


def test_what_is_gone_is_found(tmp_path: Path) -> None:
    file = document(tmp_path, "| `12.1` | 3 | crc.c 2, flow.c 1 | it reads well |")
    kept = [finding("12.1", 3), finding("12.1", 4)]
    assert compared(file, *kept) == ["misra.md:3: 12.1 in flow.c: not found any more"]


def test_a_row_needs_a_reason_and_a_sum_and_stands_once(tmp_path: Path) -> None:
    file = document(tmp_path, "| `12.1` | 7 | crc.c 1 |  |", "| `12.1` | 1 | crc.c 1 | why |")
    said = "\n".join(compared(file, finding("12.1", 3)))
    for words in ("misra.md:3: 12.1 has no reason", "misra.md:4: 12.1 has a row", "add up"):
        assert words in said


def test_a_row_that_cannot_be_read_has_its_line(tmp_path: Path) -> None:
    for row in (
        "| `12.1` | 1 | crc.c | why |",
        "| `12.1` | some | crc.c 1 | why |",
        "| `12.1` | 2 | crc.c 1; flow.c 1 | why |",
        "| `12.1` | 1 | crc.c 1 |",
        "| `12.1` | any | crc.c 1 | why |",
        "| `12.1` | 0 |  | why |",
    ):
        with pytest.raises(ValueError, match=r"misra\.md:3: want"):
            rules.read(document(tmp_path, row))


def test_counts_are_written_and_nothing_is_added(tmp_path: Path) -> None:
    kept = "| `15.5` | any | crc.c | flat |"
    file = document(
        tmp_path,
        "| `12.1` | 5 | crc.c 5, flow.c 1 | it reads well |",
        "| `10.8` | 1 | crc.c 1 | gone |",
        kept,
        "behind",
    )
    found = {finding("12.1", 3), finding("12.1", 4), finding("12.2", 4), finding("15.5", 9)}
    rules.bring_up_to_date(file, rules.read(file), rules.places(found))
    row = "| `12.1` | 2 | crc.c 2 | it reads well |"
    assert file.read_text().splitlines() == ["# Rules", "", row, kept, "behind"]
    assert compared(file, *found) == ["native/core/crc.c:4: 12.2 is not argued in misra.md"]


BAD = """\
#include <stdint.h>
#include <string.h>

int32_t eleven(int32_t x);
int32_t eleven(int32_t x) {
  int32_t n = 0;
  for (int32_t i = 0; i < 3 && x; i++)
    if (x > i || (n == 3 && i == 7)) n += x ? 1 : 2;
  while (n > 100) n -= 1;
  switch (n) {
  case 1: n = 2; break;
  case 2: n = 3; break;
  case 3: n = 4; break;
  default: break;
  }
  return n;
}

float half(int32_t *at);
float half(int32_t *at) {
  memset(at, 0, sizeof *at);
  if (at == NULL);
  return at ? 0.5f : 0.25f;
}

int32_t beyond(void);
int32_t beyond(void) {
  int32_t three[3] = {0, 1, 2};
  return three[3];
}
"""


@tools
def test_each_tool_finds_what_it_is_there_for(tmp_path: Path) -> None:
    file = tmp_path / "bad.c"
    file.write_text(BAD)
    build = analysers.Build("test", (file,), ())

    def found(tool: Callable[[analysers.Build], set[analysers.Finding]]) -> set[tuple[str, int]]:
        return {(f.rule, f.line) for f in tool(build)}

    assert ("cppcheck-arrayIndexOutOfBounds", 29) in found(analysers.cppcheck)
    # two rules on line 7, of which cppcheck itself would show one
    assert {("15.6", 7), ("12.1", 7), ("17.7", 21)} <= found(analysers.misra)
    assert ("bugprone-suspicious-semicolon", 22) in found(analysers.clang_tidy)
    assert {f.line for f in analysers.floats(file)} == {19, 20}
    sizes = {s.name: s for s in analysers.sizes(file)}
    assert (sizes["eleven"].complexity, sizes["eleven"].lines) == (11, 13)
    assert [f.rule for s in sizes.values() for f in analysers.too_big(s)] == ["complexity"]


@tools
def test_code_that_cannot_be_read_is_no_pass(tmp_path: Path) -> None:
    file = tmp_path / "broken.c"
    file.write_text('#include "nowhere.h"\nint f(void) { return g( ; }\n')
    build = analysers.Build("test", (file,), ())
    with pytest.raises(RuntimeError):
        analysers.cppcheck(build)
    with pytest.raises(RuntimeError):
        analysers.clang_tidy(build)


@tools
def test_a_deviation_without_its_row_is_exit_code_1(tmp_path: Path) -> None:
    """The real code against the real document, and against one with a row less."""
    row = next(d.row() for d in rules.read(rules.DOCUMENT) if d.rule == "17.8")
    text = rules.DOCUMENT.read_text(encoding="utf-8")
    assert row in text
    copy = tmp_path / "misra.md"
    for words, code in ((text, 0), (text.replace(row + "\n", ""), 1)):
        copy.write_text(words, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, QUALITY / "rules.py", "--document", copy, FILE],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
    assert "native/core/crc.c:12: 17.8 is not argued in misra.md" in done.stdout
