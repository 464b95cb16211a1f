# SPDX-License-Identifier: Apache-2.0
"""Static rules: what cppcheck, its MISRA addon, clang-tidy and two limits of our own (complexity,
length) find in the C code must be what docs/misra.md argues.

    python native/core/quality/rules.py [--counts] [--json FILE] [FILE.c ...]

A new kind of finding needs a row of its own, and a file its name in the row, written by hand;
--counts brings numbers up to date and takes out what is gone. With files: only these, and only what
is found there."""

from __future__ import annotations

import argparse
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from analysers import Finding, analyse, sizes, sources
from targets import CORE, FIRMWARE, ROOT

from edgeguard import figures

DOCUMENT = ROOT / "docs" / "misra.md"
ROW = re.compile(r"^\| `([^`]+)` \| (\d+|any) \| ([^|]*) \| ([^|]*) \|$")
SILENCERS = re.compile(r"NOLINT|cppcheck-suppress")

Places = dict[tuple[str, str], list[Finding]]  # by rule and name of the file


@dataclass(frozen=True)
class Deviation:
    """A row of the document: in which files, how often, and why it is right there. What is argued
    of a form, and not of its places, may come any number of times: then nothing is counted."""

    at: int  # its line, from 1
    rule: str
    total: str
    files: dict[str, int]
    why: str

    @property
    def counted(self) -> bool:
        """Whether each place is argued."""
        return self.total != "any"

    def row(self) -> str:
        """As it stands in the document."""
        where = [f"{file} {n}" if self.counted else file for file, n in self.files.items()]
        return f"| `{self.rule}` | {self.total} | {', '.join(where)} | {self.why} |"


def name_of(file: Path) -> str:
    """A file's name in the document: its path below native/core (or its include folder), or below
    firmware_bridge/mcu."""
    folders = (CORE / "include", CORE, FIRMWARE)
    return next((str(file.relative_to(f)) for f in folders if f in file.parents), str(file))


def read(document: Path) -> list[Deviation]:
    """Every row. Raises ValueError at one that cannot be read."""
    found = []
    for at, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("| `"):
            continue
        match = ROW.match(line)
        cells = match[3].strip().split(", ") if match else []
        form = r"\S+" if match and match[2] == "any" else r"\S+ \d+"
        if not match or not all(re.fullmatch(form, cell) for cell in cells):
            raise ValueError(
                f"{document.name}:{at}: want | `rule` | places | file n, ... | why |"
                " or | `rule` | any | file, ... | why |"
            )
        where = {name: int(n or 0) for name, _, n in (cell.partition(" ") for cell in cells)}
        found.append(Deviation(at, match[1], match[2], where, match[4].strip()))
    return found


def places(found: set[Finding]) -> Places:
    """Findings by rule and file."""
    by: Places = defaultdict(list)
    for finding in sorted(found):
        by[finding.rule, name_of(finding.file)].append(finding)
    return by


def compare(found: Places, rows: list[Deviation], document: str, whole: bool) -> list[str]:
    """What is not argued and, of a whole run, what is argued and not there."""
    wrong = [f"{document}:{d.at}: {d.rule} has no reason" for d in rows if not d.why]
    wrong += [
        f"{document}:{d.at}: {d.rule} has a row already"
        for i, d in enumerate(rows)
        if d.rule in {e.rule for e in rows[:i]}
    ]
    argued = {(d.rule, file): (d, n) for d in rows for file, n in d.files.items()}
    for key, here in found.items():
        if key not in argued:
            wrong += [f"{_where(f)}: {f.rule} is not argued in {document}" for f in here]
            continue
        row, n = argued[key]
        if row.counted and (len(here) > n or (whole and len(here) < n)):
            lines = ", ".join(str(f.line) for f in here)
            wrong.append(
                f"{document}:{row.at}: {key[0]} in {key[1]}: {n} argued, {len(here)} found"
                f" (lines {lines}); mend the code, or read them and run with --counts"
            )
    gone = [key for key in argued if whole and key not in found]
    wrong += [f"{document}:{argued[k][0].at}: {k[0]} in {k[1]}: not found any more" for k in gone]
    if whole:
        wrong += [f"{document}:{d.at}: {d.rule}: places do not add up" for d in rows
                  if d.counted and d.total != str(sum(d.files.values()))]  # fmt: skip
    return wrong


def _where(finding: Finding) -> str:
    inside = ROOT in finding.file.parents
    return f"{finding.file.relative_to(ROOT) if inside else finding.file}:{finding.line}"


def bring_up_to_date(document: Path, rows: list[Deviation], found: Places) -> None:
    """Write the counts of a whole run into the rows: of files that they name, no others."""
    lines = document.read_text(encoding="utf-8").splitlines()
    for d in reversed(rows):
        files = {file: len(found[d.rule, file]) for file in d.files if (d.rule, file) in found}
        total = str(sum(files.values())) if d.counted else d.total
        new = Deviation(d.at, d.rule, total, files, d.why)
        lines[d.at - 1 : d.at] = [new.row()] if files else []
    document.write_text("\n".join(lines) + "\n", encoding="utf-8")


def silenced(files: list[Path]) -> list[str]:
    """Comments that would hide a finding from the document."""
    return [
        f"{file.relative_to(ROOT)}:{at}: argue it in docs/misra.md, do not silence it"
        for file in files
        for at, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if SILENCERS.search(line)
    ]


def measured(found: Places, unargued: int) -> list[figures.Figure]:
    """The figures of a whole run, largest functions included."""
    every = [s for file in sources() for s in sizes(file)]
    return [
        figures.Figure("rules.functions", len(every)),
        figures.Figure("rules.complexity_max", max(s.complexity for s in every)),
        figures.Figure("rules.lines_max", max(s.lines for s in every), "lines"),
        figures.Figure("rules.deviations", len({rule for rule, _ in found}), "rules"),
        figures.Figure("rules.places", sum(len(here) for here in found.values())),
        figures.at_most("rules.unargued", unargued, 0),
    ]


def main() -> int:
    """Analyse, compare, print; 1 if code and document differ, 2 if a tool or a row is unusable."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("files", nargs="*", type=Path)
    options.add_argument("--document", type=Path, default=DOCUMENT)
    options.add_argument("--counts", action="store_true", help="write the counts into the document")
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    files = [f.resolve() for f in given.files] or sources()
    unknown = set(files) - set(sources())
    if unknown:
        options.error(f"not under the rules: {', '.join(map(str, unknown))}")
    try:
        rows = read(given.document)
        found = places(analyse(files))
    except (OSError, RuntimeError, ValueError) as error:
        print(error)
        return 2
    whole = not given.files
    if given.counts and whole:
        bring_up_to_date(given.document, rows, found)
        rows = read(given.document)
    wrong = silenced(files) + compare(found, rows, given.document.name, whole)
    print("\n".join(wrong) if wrong else f"{sum(map(len, found.values()))} places, all argued")
    if whole:
        by_rule = Counter(rule for (rule, _), here in found.items() for _ in here)
        print(", ".join(f"{rule} {n}" for rule, n in by_rule.most_common()))
        results = measured(found, len(wrong))
        for figure in results:
            print(f"{figure.id:<22} {figure.value:g} {figure.unit}")
        if given.json:
            figures.write(given.json, results, None, [])
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
