# SPDX-License-Identifier: Apache-2.0
"""What the static analysers find in the C code, as (rule, file, line, column) each.

cppcheck's MISRA addon is run on dumps: called through cppcheck it reports one rule a line and hides
the others. The core is analysed as the host and as a microcontroller compile it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ctokens import Code, functions
from targets import BUILD, CORE, FIRMWARE, ROOT, TWIN, run

OUT = BUILD / "rules"
BOARDS = FIRMWARE / "boards"
CORTEX_M = BOARDS / "cortex_m"
ADDONS = ("/usr/lib/*/cppcheck/addons/misra.py", "/usr/share/cppcheck/addons/misra.py")
VERSIONS = (("cppcheck", "Cppcheck 2.17"), ("clang-tidy-19", "LLVM version 19"))
ARM = ("--target=arm-none-eabi", "-mcpu=cortex-m4", "-mthumb", "-isystem", "/usr/include/newlib",
       "-isystem", "/usr/lib/arm-none-eabi/include")  # fmt: skip
WARNING = re.compile(r"^(/[^:\n]+):(\d+):(\d+): \w+: .* \[([^\]\s]+)\]$", re.MULTILINE)
BROKEN = ("syntaxError", "internalError", "internalAstError", "preprocessorErrorDirective")

MAX_COMPLEXITY = 10
MAX_LINES = 60
FORKS = {"if", "for", "while", "case", "&&", "||", "?"}


@dataclass(frozen=True, order=True)
class Finding:
    """One place that a rule does not like. MISRA rules have their number, those of cppcheck and
    clang-tidy the tool's name, `complexity`, `length` and `float` are our own."""

    rule: str
    file: Path
    line: int
    column: int


@dataclass(frozen=True)
class Size:
    """Lines of a function, and its cyclomatic complexity: 1, and 1 more for every if, loop, case,
    &&, || and question mark."""

    file: Path
    name: str
    line: int
    complexity: int
    lines: int


@dataclass(frozen=True)
class Build:
    """Files as one compiler sees them together."""

    name: str
    units: tuple[Path, ...]
    flags: tuple[str, ...]
    arm: bool = False
    whole: bool = False  # all of a program, so that what nothing uses shows

    def only(self, units: set[Path]) -> Build:
        """The same with no other units than these."""
        kept = tuple(u for u in self.units if u in units)
        return replace(self, units=kept, whole=self.whole and kept == self.units)


def builds() -> list[Build]:
    """The core on the host, the twin, and the firmware for every board that has a `board.mk`."""
    core = tuple(sorted(CORE.glob("*.c")))
    public = (f"-I{CORE}", f"-I{CORE / 'include'}")
    small = ("-DEG_SMALL", f"-I{FIRMWARE}", *public)
    found = [
        Build("host", core, ("-UEG_SMALL", *public)),
        Build("twin", (TWIN / "twin.c",), (*small, f"-I{TWIN}")),
    ]
    for mark in sorted(BOARDS.glob("*/board.mk")):
        board = mark.parent
        units = (f for folder in (FIRMWARE, CORTEX_M, board) for f in sorted(folder.glob("*.c")))
        flags = (*small, f"-I{CORTEX_M}", f"-I{board}")
        found.append(Build(board.name, (*core, *units), flags, arm=True, whole=True))
    return found


def sources() -> list[Path]:
    """Every C file and header that the rules are for."""
    folders = [CORE, CORE / "include" / "edgeguard", FIRMWARE, *BOARDS.iterdir()]
    return sorted(f for folder in folders for f in folder.glob("*.[ch]"))


def check_tools() -> None:
    """Raise RuntimeError if a tool is missing, or not of the version whose findings are argued."""
    for tool, version in VERSIONS:
        if not shutil.which(tool):
            raise RuntimeError(f"{tool} is missing: apt-get install -y {tool}")
        said = run([tool, "--version"])
        if version not in said:
            raise RuntimeError(f"docs/misra.md is for {version}, not {' '.join(said.split())}")


def cppcheck(build: Build) -> set[Finding]:
    """cppcheck's own findings. Leaves a dump of every unit in the build's folder, for `misra`."""
    folder = OUT / build.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    units = [folder / u.name for u in build.units]  # links: a dump is written beside its unit
    for link, unit in zip(units, build.units, strict=True):
        link.symlink_to(unit)
    sizes_of_types = "arm32-wchar_t4" if build.arm else "unix64"
    run(
        ["cppcheck", "--dump", "--std=c99", "--quiet", f"--platform={sizes_of_types}",
         "--check-level=exhaustive", "--enable=warning,style,performance,portability",
         "--inconclusive", "--suppress=missingIncludeSystem",
         "--template={file}\t{line}\t{column}\t{id}", f"--output-file={folder / 'findings'}",
         *build.flags, *units]
    )  # fmt: skip
    lines = (folder / "findings").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    if any(len(row) != 4 or row[3] in BROKEN for row in rows):
        raise RuntimeError("cppcheck cannot read the code:\n" + "\n".join(lines))
    return {
        Finding(f"cppcheck-{id}", Path(file).resolve(), int(line), int(column))
        for file, line, column, id in rows
    }


def misra(build: Build) -> set[Finding]:
    """What the MISRA addon finds in the dumps: in each and, of a whole program, in all of them
    (unused types and macros, identifiers that clash, linkage)."""
    addon = next((p for a in ADDONS for p in Path("/").glob(a[1:])), None)
    if not addon:
        raise RuntimeError(f"cppcheck's MISRA addon is at none of {', '.join(ADDONS)}")

    def say(*files: Path) -> list[dict[str, Any]]:
        said = run(["python3", addon, "--cli", *files])
        return [json.loads(line) for line in said.splitlines() if line]

    said = say(*sorted((OUT / build.name).glob("*.dump")))
    if build.whole:
        whole = OUT / build.name / "all.ctu-info"
        summaries = [json.dumps(s) for s in said if "summary" in s]
        whole.write_text("\n".join(summaries), encoding="utf-8")
        said += say(whole)
    return {
        Finding(
            s["errorId"].removeprefix("c2012-"), Path(s["file"]).resolve(), s["linenr"], s["column"]
        )
        for s in said
        if "file" in s
    }


def clang_tidy(build: Build) -> set[Finding]:
    """clang-tidy's findings by the rules of .clang-tidy."""
    said = run(
        ["clang-tidy-19", f"--config-file={ROOT / '.clang-tidy'}", "--quiet", *build.units, "--",
         "-std=c99", *(ARM if build.arm else ()), *build.flags]
    )  # fmt: skip
    return {
        Finding(check, Path(file).resolve(), int(line), int(column))
        for file, line, column, checks in WARNING.findall(said)
        for check in checks.split(",")
    }


def sizes(file: Path) -> list[Size]:
    """Every function of a file."""
    code = Code(file.read_text(encoding="utf-8"))
    found = []
    for f in functions(code):
        first, last = code.tokens[f.first], code.tokens[f.last]
        forks = sum(code.text(i) in FORKS for i in range(f.body, f.last))
        line = code.source.count("\n", 0, first.at) + 1
        length = code.source.count("\n", first.at, last.at) + 1
        found.append(Size(file, f.name, line, 1 + forks, length))
    return found


def floats(file: Path) -> set[Finding]:
    """Where a file names a type that is no integer."""
    code = Code(file.read_text(encoding="utf-8"))
    at = [t.at for t in code.tokens if t.text in ("float", "double")]
    return {Finding("float", file, code.source.count("\n", 0, a) + 1, 1) for a in at}


def too_big(size: Size) -> set[Finding]:
    """What is above the limits in one function."""
    above = {"complexity": size.complexity > MAX_COMPLEXITY, "length": size.lines > MAX_LINES}
    return {Finding(rule, size.file, size.line, 1) for rule, is_so in above.items() if is_so}


def analyse(files: list[Path]) -> set[Finding]:
    """All findings in these files, out of `sources`. Raises RuntimeError if a tool is missing or
    cannot read a file."""
    check_tools()
    found = {f for file in files for size in sizes(file) for f in too_big(size)}
    found |= {f for file in files for f in floats(file)}
    left = set(files)
    for build in (b.only(set(files)) for b in builds()):
        new = build.only(left)  # clang-tidy, the slow one, sees each file once
        left -= set(new.units)
        if build.units:
            found |= cppcheck(build) | misra(build)
        if new.units:
            found |= clang_tidy(new)
    return {f for f in found if f.file in files}
