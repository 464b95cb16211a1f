# SPDX-License-Identifier: Apache-2.0
"""Requirements and their evidence: reads docs/requirements.md, checks that everything it names
exists, and writes docs/requirements-matrix.md.

    python native/core/quality/requirements.py [--check]

--check writes nothing and is 1 if the matrix is not what follows."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from targets import CORE, FIRMWARE, ROOT

DOCUMENT = ROOT / "docs" / "requirements.md"
C_TESTS = {"core": CORE / "tests", "mcu": FIRMWARE / "tests"}
KEYS = ("why", "code", "proof", "test", "run", "figure")
EVIDENCE = ("proof", "test", "run")
TITLE = re.compile(r"### (REQ-[A-Z]+-\d\d)")
FUNCTION = re.compile(r'^[\w"][\w "*]*?\b(\w+)\([^;{}]*\)\s*\{', re.MULTILINE)
PROPERTY = re.compile(r"^\[([A-Z]+-\d+[a-z]?)\]$", re.MULTILINE)
DECLARED = re.compile(r"^[\w][\w *]*?\b((?:eg|board)_\w+)\([^;{}]*\);", re.MULTILINE)
FAULT = re.compile(r"\bF\d\d\b")
MAKES_FIGURES = re.compile(r"\bfigures?\b|\bFigure\(")
MAIN = "\nint main("
INJECTED = re.compile(r"\bFault\(\s*\"(F\d\d)\"")


@dataclass(frozen=True)
class Requirement:
    """One requirement as the document states it; `named` by key, each in its order."""

    at: int  # line of its title, from 1
    id: str
    says: str
    why: str
    named: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Tree:
    """What may be named."""

    functions: dict[str, Path]  # of core, link and firmware, to the file that has it
    public: set[str]  # those of them that a header declares
    properties: set[str]
    figures: list[re.Pattern[str]]  # ids that some command prints
    faults: set[str]  # that the campaign injects
    targets: set[str]  # of the Makefile


def read(document: Path) -> list[Requirement]:
    """Every requirement. Raises ValueError, with the line, at one that is not in the form."""
    lines = document.read_text(encoding="utf-8").splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("### ")]
    found: list[Requirement] = []
    for start in starts:
        one = _one(document.name, start, lines)
        if one.id in {r.id for r in found}:
            raise ValueError(f"{document.name}:{one.at}: {one.id} is there twice")
        found.append(one)
    if not found:
        raise ValueError(f"{document.name}: no requirement in it")
    return found


def _one(name: str, start: int, lines: list[str]) -> Requirement:
    title = TITLE.fullmatch(lines[start])
    if not title:
        raise ValueError(f"{name}:{start + 1}: want ### REQ-NAME-00, got {lines[start]!r}")
    says, named, why = lines[start + 1], {}, ""
    for at, line in enumerate(lines[start + 2 :], start + 3):
        if not line or line.startswith("#"):
            break
        key, colon, text = line.removeprefix("- ").partition(": ")
        if not line.startswith("- ") or not colon or key not in KEYS or key in named:
            raise ValueError(f"{name}:{at}: want one `- key: ...` of {', '.join(KEYS)}")
        named[key] = tuple(part.strip("`") for part in text.split(", "))
        why = text if key == "why" else why
    return Requirement(start + 1, title[1], says, why, named)


def _all(pattern: re.Pattern[str], files: Iterable[Path]) -> set[str]:
    return {m for f in files for m in pattern.findall(f.read_text(encoding="utf-8"))}


def tree() -> Tree:
    """Functions, properties, figures, faults and make targets of this repository."""
    units = [*CORE.glob("*.[ch]"), *FIRMWARE.glob("*.c")]
    functions = {n: f for f in units for n in FUNCTION.findall(f.read_text(encoding="utf-8"))}
    declared = _all(DECLARED, [*CORE.glob("include/edgeguard/*.h"), *FIRMWARE.glob("*.h")])
    return Tree(
        functions,
        declared & set(functions),
        _all(PROPERTY, (CORE / "proofs").glob("properties*.toml")),
        _figures(),
        _all(INJECTED, (ROOT / "firmware_bridge" / "campaign").glob("*.py")),
        _all(re.compile(r"^([\w-]+):", re.MULTILINE), [ROOT / "Makefile"]),
    )


def _figures() -> list[re.Pattern[str]]:
    """A pattern for every dotted name where figures are made, with any word for what is put in: for
    one part of it, or for what stands before a part that is known."""
    found = set()
    for folder in (ROOT / "edgeguard", ROOT / "firmware_bridge", CORE):
        for file in folder.rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            if not MAKES_FIGURES.search(text):
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.JoinedStr):
                    parts = (p.value if isinstance(p, ast.Constant) else "*" for p in node.values)
                    found.add("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    dotted = [f for f in found if re.fullmatch(r"[\w*]+(\.[\w*]+)+", f)]
    names = [f for f in dotted if f.count("*") < 2 or not f.endswith(".*")]
    return [re.compile(re.escape(n).replace(r"\*", r"[\w.]+")) for n in names]


def test_file(name: str) -> tuple[Path, str]:
    """File and function of a test: core/test_x.c:f, mcu/test_x.c:f or tests/test_x.py::f."""
    file, _, function = name.replace("::", ":").partition(":")
    folder, _, rest = file.partition("/")
    return (C_TESTS[folder] / rest if folder in C_TESTS else ROOT / file), function


def has_test(name: str) -> bool:
    """Whether that test is there; in C it is a function that the program's main names."""
    file, function = test_file(name)
    if not file.is_file() or not function:
        return False
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        found = [n.name for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
        return function.startswith("test_") and function in found
    programs = [text] if MAIN in text else [f.read_text("utf-8") for f in file.parent.glob("*.c")]
    mains = [p.partition(MAIN)[2] for p in programs]
    named = function == "main" or any(re.search(rf"\b{function}\b", m) for m in mains)
    return named and function in FUNCTION.findall(text)


def missing(key: str, name: str, there: Tree) -> bool:
    """Whether what a requirement names does not exist."""
    if key == "code":
        return name not in there.functions
    if key == "proof":
        return name not in there.properties
    if key == "test":
        return not has_test(name)
    if key == "run":
        return name.removeprefix("make ") not in there.targets
    unknown = set(FAULT.findall(name)) - there.faults
    return bool(unknown) or not any(p.fullmatch(name) for p in there.figures)


def complaints(requirements: list[Requirement], there: Tree) -> list[str]:
    """What is wrong, in words."""
    wrong = []
    for r in requirements:
        at = f"{DOCUMENT.name}:{r.at}: {r.id}"
        wrong += [f"{at}: no {what}" for what, is_there in
                  (("sentence", r.says), ("why", r.why), ("code", r.named.get("code")))
                  if not is_there]  # fmt: skip
        if not any(r.named.get(key) for key in EVIDENCE):
            wrong.append(f"{at}: no evidence: want a proof, a test or a run")
        wrong += [
            f"{at}: no such {key}: {name}"
            for key in KEYS[1:]
            for name in r.named.get(key, ())
            if missing(key, name, there)
        ]
    served = {name for r in requirements for name in r.named.get("code", ())}
    wrong += [f"{there.functions[f].name}: {f}: no requirement asks for it"
              for f in sorted(there.public - served)]  # fmt: skip
    return wrong


def _test_link(name: str) -> str:
    file, function = test_file(name)
    return f"[{function}](../{file.relative_to(ROOT)})"


def _symbol_link(name: str, there: Tree) -> str:
    return f"[{name}](../{there.functions[name].relative_to(ROOT)})"


def matrix(requirements: list[Requirement], there: Tree) -> str:
    """The matrix as a document."""

    def cell(parts: Iterable[str]) -> str:
        return "<br>".join(parts)

    lines = [
        "# Requirements and their evidence",
        "",
        "Made from [requirements.md](requirements.md) by `native/core/quality/requirements.py`.",
        "",
        "| requirement | function | proof | test, command | figure |",
        "|---|---|---|---|---|",
    ]
    for r in requirements:
        tests = [_test_link(t) for t in r.named.get("test", ())]
        runs = [f"`{run}`" for run in r.named.get("run", ())]
        cells = (
            f"[{r.id}](requirements.md#{r.id.lower()})",
            cell(_symbol_link(s, there) for s in r.named["code"]),
            cell(r.named.get("proof", ())),
            cell([*tests, *runs]),
            cell(r.named.get("figure", ())),
        )
        lines.append(f"| {' | '.join(cells)} |")
    by = {key: sum(bool(r.named.get(key)) for r in requirements) for key in ("proof", "test")}
    proved, tested = f"{by['proof']} with a proof", f"{by['test']} with a test"
    lines += ["", f"{len(requirements)} requirements: {proved}, {tested}."]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Check, write; 1 if something is named that is not there, or the matrix is an old one."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--document", type=Path, default=DOCUMENT)
    options.add_argument("--check", action="store_true", help="compare, write nothing")
    given = options.parse_args()
    try:
        requirements = read(given.document)
    except (OSError, ValueError) as error:
        print(error)
        return 1
    there = tree()
    wrong = complaints(requirements, there)
    if wrong:
        print("\n".join(wrong))
        return 1
    target = given.document.with_name("requirements-matrix.md")
    text = matrix(requirements, there)
    if not given.check:
        target.write_text(text, encoding="utf-8")
    elif not target.is_file() or target.read_text(encoding="utf-8") != text:
        print(f"{target.name} is not what follows from {given.document.name}: make it again")
        return 1
    print(text.splitlines()[-1])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
