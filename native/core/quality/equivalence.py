# SPDX-License-Identifier: Apache-2.0
"""Proofs by CBMC that a mutant which no test can find is equivalent to the original.

A harness in equivalents/ names its unit, the mutants that it is for, and why they are equivalent.
It is compiled together with the unit (functions renamed f__a) and linked with the mutant (f__b);
CBMC shows that both do the same for every input. Lest a harness prove nothing, it must also refute
a mutant of the same functions that the tests kill.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ctokens import Code, Function, functions
from engine import Case
from targets import BUILD, CORE, JOBS, ROOT

HERE = Path(__file__).resolve().parent / "equivalents"
FIELD = re.compile(r"(Unit|Stub|Link|Unwind|Mutants|Refutes):([^:]*?)(?=\n \* [A-Z][a-z]+:|\*/)")
CHECKS = ["--unwinding-assertions", "--bounds-check", "--pointer-check", "--div-by-zero-check"]
SOLVER = ["--external-sat-solver", "cadical"]
TRIES = 5  # killed mutants of the same functions, of which a harness must refute one
SECONDS = 600


@dataclass(frozen=True)
class Harness:
    """One file of equivalents/."""

    path: Path
    unit: str
    mutants: tuple[str, ...]
    stubs: frozenset[str]
    links: tuple[str, ...]
    unwind: int

    @property
    def text(self) -> str:
        """The file."""
        return self.path.read_text(encoding="utf-8")


def harnesses() -> list[Harness]:
    """All harnesses. Raises ValueError at one that does not say what it is for."""
    found = []
    for path in sorted(HERE.glob("*.c")):
        text = path.read_text(encoding="utf-8")
        fields = {k: v.replace("\n *", " ").split() for k, v in FIELD.findall(text)}
        if not fields.get("Unit") or not fields.get("Mutants"):
            raise ValueError(f"{path}: names no unit, or no mutants")
        found.append(
            Harness(
                path,
                fields["Unit"][0],
                tuple(fields["Mutants"]),
                frozenset(fields.get("Stub", ())),
                tuple(fields.get("Link", ())),
                int(fields["Unwind"][0]),
            )
        )
    return found


def _renamed(source: str, suffix: str, stubs: frozenset[str]) -> tuple[str, list[str]]:
    """A copy of a unit whose functions end in `suffix` and are all visible, without the bodies of
    stubs; and the prototypes of its functions."""
    code = Code(source)
    own = functions(code)
    names = {f.name: "__stub" if f.name in stubs else suffix for f in own}
    edits: list[tuple[int, int, str]] = []
    for i, token in enumerate(code.tokens):
        member = code.text(i - 1) in (".", "->")
        if token.kind == "name" and token.text in names and not member:
            edits.append((token.at, token.end, token.text + names[token.text]))
    prototypes = []
    for f in own:
        for i in range(f.first, f.parameters):
            if code.text(i) in ("static", "inline"):
                edits.append((code.tokens[i].at, code.tokens[i].end, ""))
        if f.name in stubs:
            start, end = code.tokens[f.body].at, code.tokens[f.last].end
            edits = [e for e in edits if not start <= e[0] < end] + [(start, end, ";")]
        prototypes.append(_prototype(code, f, names[f.name]))
    text = source
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text, prototypes


def _prototype(code: Code, f: Function, suffix: str) -> str:
    words = code.slice(f.first, f.body - 1)
    words = re.sub(r"\b(static|inline)\b", "", words)
    return re.sub(rf"\b{f.name}\b", f.name + suffix, words, count=1) + ";"


def _write(harness: Harness, case: Case, folder: Path) -> list[Path]:
    original = case.path.read_text(encoding="utf-8")
    a, _ = _renamed(original, "__a", harness.stubs)
    b, prototypes = _renamed(case.text, "__b", harness.stubs)
    parts = [a, '#include "pair.h"', *prototypes, harness.text]
    files = [folder / "a.c", folder / "b.c"]
    files[0].write_text("\n".join(parts), encoding="utf-8")
    files[1].write_text(b, encoding="utf-8")
    return files


def check(harness: Harness, case: Case) -> bool:
    """Whether CBMC proves the mutant equivalent. Raises RuntimeError if it says neither; answers
    are kept by the hash of all that went in."""
    name = f"{harness.path.stem}-{case.mutant.id}"
    folder = BUILD / "equivalence" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = _write(harness, case, folder)
    links = [ROOT / link if "/" in link else CORE / link for link in harness.links]
    digest = hashlib.sha256(str((CHECKS, harness.unwind)).encode())
    for part in [*files, *links, *case.target.headers, HERE / "pair.h"]:
        digest.update(part.read_bytes())
    kept = BUILD / "equivalence" / f"{digest.hexdigest()[:24]}.verdict"
    if kept.is_file():
        return kept.read_text() == "proved"
    include = [f"-I{HERE}", f"-iquote{case.path.parent}", *case.target.flags]
    program = folder / "pair"
    tool = ["goto-cc", *include, *map(str, files), *map(str, links), "-o", str(program)]
    made = subprocess.run(tool, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise RuntimeError(f"{name}: {made.stdout}{made.stderr}")
    command = ["cbmc", str(program), "--function", "harness", "--unwind", str(harness.unwind)]
    done = subprocess.run(
        command + CHECKS + SOLVER, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    (folder / "report.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    bodies = re.findall(r"no body for (?:callee|function) (\S+)", done.stdout + done.stderr)
    proved = "VERIFICATION SUCCESSFUL" in done.stdout and "same: " in done.stdout
    short = re.search(r"unwind.*FAILURE", done.stdout) is not None
    if bodies or short or (not proved and "VERIFICATION FAILED" not in done.stdout):
        raise RuntimeError(f"{name}: {bodies or done.stdout[-800:]}{done.stderr[-800:]}")
    kept.write_text("proved" if proved else "refuted")
    return proved


def prove(alive: list[Case]) -> tuple[set[str], list[str]]:
    """Ids of the mutants that every harness which names them proves; and what went wrong."""
    by_id = {c.mutant.id: c for c in alive}
    todo = [(h, by_id[m]) for h in harnesses() for m in h.mutants if m in by_id]
    with ThreadPoolExecutor(JOBS) as pool:
        answers = list(pool.map(lambda pair: _answer(*pair), todo))
    wrong = [a for a in answers if a]
    failed = {case.mutant.id for (_, case), answer in zip(todo, answers, strict=True) if answer}
    return {case.mutant.id for _, case in todo} - failed, wrong


def _answer(harness: Harness, case: Case) -> str:
    """Empty if proved, else what CBMC had to say."""
    try:
        return "" if check(harness, case) else f"{harness.path.name}: {case.name} is not equivalent"
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return f"{harness.path.name}: {error}"


def audit(units: set[str], alive: list[Case], killed: list[Case]) -> list[str]:
    """Harnesses of these units that prove nothing: they name no survivor, or refute no killed
    mutant."""
    names, found = {c.mutant.id: c for c in alive}, [h for h in harnesses() if h.unit in units]
    wrong = [
        f"{harness.path.name} names {m}, which is no survivor"
        for harness in found for m in harness.mutants if m not in names
    ]  # fmt: skip
    with ThreadPoolExecutor(JOBS) as pool:
        return wrong + [w for w in pool.map(lambda h: _refutes(h, names, killed), found) if w]


def _refutes(harness: Harness, alive: dict[str, Case], killed: list[Case]) -> str:
    """Empty if the harness refutes a killed mutant of a function that it is about."""
    where = {alive[m].mutant.where for m in harness.mutants if m in alive} - harness.stubs
    near = [c for c in killed if c.path.name == harness.unit and c.mutant.where in where]
    for case in near[:: max(1, len(near) // TRIES)]:
        if _answer(harness, case).endswith("is not equivalent"):
            return ""
    return f"{harness.path.name} refutes no mutant: it proves nothing"
