# SPDX-License-Identifier: Apache-2.0
"""Run one CBMC proof: compile a harness, wrap it with contracts, check it, read the report."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CORE = HERE.parent

CHECKS = [
    "--no-standard-checks",
    "--bounds-check",
    "--pointer-check",
    "--pointer-primitive-check",
    "--signed-overflow-check",
    "--conversion-check",
    "--div-by-zero-check",
    "--undefined-shift-check",
    "--unwinding-assertions",
    "--drop-unused-functions",
    "--slice-formula",
]
# Loops of the contracts' own library: over the targets of an assigns clause.
LIBRARY_LOOPS = (
    "write_set_check_assigns_clause_inclusion.0",
    "write_set_check_frees_clause_inclusion.0",
    "write_set_deallocate_freeable.0",
    "write_set_deallocate_freeable.1",
    "write_set_deallocate_freeable.2",
    "write_set_check_assignment.0",
    "write_set_check_array_set.0",
    "write_set_check_array_copy.0",
    "write_set_check_array_replace.0",
    "write_set_check_havoc_object.0",
)
HARNESS = re.compile(
    r"/\*!(?P<words>.*?)\*/\s*void (?P<name>\w+)\(void\) \{(?P<body>.*?)\n\}", re.S
)
WRONG = re.compile(r"error|invariant|condition|no body|objects", re.I)
VERSION = 6  # of what is kept in the cache

ID = re.compile(r"\b[A-Z]+-\d+[a-z]?\b")
TAG = re.compile(r"/\*\s*((?:[A-Z]+-\d+[a-z]?)(?:,\s*[A-Z]+-\d+[a-z]?)*)\s*\*/")


@dataclass(frozen=True)
class Job:
    """One harness. `enforce` is the function whose contract it proves, if any."""

    name: str
    file: Path
    enforce: str = ""
    replace: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    unwind: int = 31
    loops: str = ""  # a loop contract file beside the harness
    flags: tuple[str, ...] = ()
    solver: str = ""
    fields: int = 64  # elements up to which CBMC takes an array apart: fewer, and it reads faster
    object_bits: int = 8  # 2^n objects at most; each bit more doubles the formulas of contracts
    proves: tuple[str, ...] = ()  # contracts that it proves by other means than `enforce`
    seconds: int = 0  # that it took where it was measured; 0: so few that it is in the short set
    tags: frozenset[str] = frozenset()  # properties that it is to prove
    defines: tuple[str, ...] = ()  # of the build that it is a proof of


@dataclass
class Outcome:
    """What CBMC said: ids of the properties whose assertions hold (`proved`) or fail."""

    seconds: float = 0.0
    error: str = ""
    checks: int = 0
    failures: list[str] = field(default_factory=list)
    proved: list[str] = field(default_factory=list)
    refuted: list[str] = field(default_factory=list)
    canary: bool = False
    cached: bool = False

    @property
    def holds(self) -> bool:
        return not self.error and not self.failures and self.canary


def read_jobs(folder: Path = HERE) -> list[Job]:
    """The harnesses of a folder: functions with a comment of `/*! ... */` before them."""
    texts = {f: f.read_text(encoding="utf-8") for f in sorted(folder.glob("*.[ch]"))}
    everything = "".join(texts.values())
    headers = "".join(text for file, text in texts.items() if file.suffix == ".h")
    return [
        _job(found, file, text + headers, everything)
        for file, text in texts.items()
        for found in HARNESS.finditer(text)
    ]


def _job(found: re.Match[str], file: Path, text: str, everything: str) -> Job:
    words = {}
    for line in re.sub(r"\n\s*\*", "\n", found["words"]).split(";"):
        key, _, value = line.strip().partition(" ")
        words[key] = tuple(value.split())

    def contract(function: str) -> str:
        own = "/" not in function and re.search(rf"\b{function}_c\(", text)
        return f"{function}/{function}_c" if own else function

    enforce = contract(words["enforce"][0]) if "enforce" in words else ""
    said = _declaration(enforce.rpartition("/")[2], text + everything) + found["body"]
    return Job(
        found["name"],
        file,
        enforce,
        tuple(contract(f) for f in words.get("replace", ())),
        words.get("links", ()),
        int(words.get("unwind", ("31",))[0]),
        words.get("loops", ("",))[0],
        words.get("flags", ()),
        words.get("solver", ("",))[0],
        int(words.get("fields", ("64",))[0]),
        int(words.get("object-bits", ("8",))[0]),
        tuple(contract(f) for f in words.get("proves", ())),
        int(words.get("seconds", ("0",))[0]),
        frozenset(ID.findall(said)),
    )


def _declaration(function: str, text: str) -> str:
    """Where a function's contract is written."""
    if not function:
        return ""
    found = re.search(rf"^(?:/\*.*\*/ )?\w[\w \*]*\b{function}\([^;]*;", text, re.M)
    return found[0] if found else ""


def run(job: Job, core: Path, work: Path, limit_s: int) -> Outcome:
    """Prove `job` over the sources in `core`. Results are kept in `work` by what was compiled."""
    work.mkdir(parents=True, exist_ok=True)
    key = f"{job.name}-{_key(job, core)}"
    kept = work / f"{key}.json"
    if kept.exists():
        outcome = Outcome(**json.loads(kept.read_text(encoding="utf-8")))
        outcome.cached = True
        return outcome
    started = time.monotonic()
    outcome = Outcome()
    try:
        report = _check(job, core, work / f"{key}.goto", limit_s)
        _read(job, report, outcome)
    except _ToolError as e:
        outcome.error = str(e)
    except subprocess.TimeoutExpired:
        outcome.error = f"no result in {limit_s} s"
    finally:
        (work / f"{key}.goto").unlink(missing_ok=True)
    outcome.seconds = round(time.monotonic() - started, 2)
    if not outcome.error:
        kept.write_text(json.dumps(vars(outcome)), encoding="utf-8")
    return outcome


class _ToolError(Exception):
    """A tool failed: its own words."""


def _tool(command: list[str], limit_s: int, good: tuple[int, ...] = (0,)) -> str:
    limited = ["prlimit", f"--cpu={limit_s}", "--", *command]
    done = subprocess.run(limited, capture_output=True, text=True, check=False, errors="replace")
    if done.returncode in (-9, -24, 137, 152):
        raise _ToolError(f"{command[0]}: no result in {limit_s} s of processor time")
    if done.returncode not in good:
        text = (done.stdout + done.stderr).strip().splitlines()
        wrong = [line for line in text if WRONG.search(line)]
        raise _ToolError(f"{command[0]}: {' | '.join((wrong or text)[-6:])}")
    return done.stdout


def _includes(core: Path) -> list[str]:
    return [f"-I{core / 'include'}", f"-I{core}", f"-I{HERE}"]


def _key(job: Job, core: Path) -> str:
    """Of what is compiled and how, and of the ids in it; other comments change nothing."""
    sources = [str(job.file), *(str(core / f) for f in job.links)]
    how = ["-std=c99", *job.defines, *_includes(core)]
    text = _tool(["cc", "-E", "-P", "-C", "-w", *how, *sources], 60)
    asked = replace(job, file=Path(), tags=frozenset(), seconds=0)
    sum_ = hashlib.sha256(repr((VERSION, asked, CHECKS, ID.findall(text))).encode())
    sum_.update(" ".join(re.sub(r"/\*.*?\*/", "", text, flags=re.S).split()).encode())
    if job.loops:
        sum_.update((HERE / job.loops).read_bytes())
    return sum_.hexdigest()[:16]


def _check(job: Job, core: Path, binary: Path, limit_s: int) -> str:
    sources = [str(job.file), *(str(core / f) for f in job.links)]
    compile_ = ["goto-cc", "-std=c99", *job.defines, *_includes(core), "--function", job.name]
    compile_ += sources
    _tool([*compile_, "-o", str(binary)], 60)
    if job.enforce or job.replace or job.loops:
        wrap = ["goto-instrument", "--dfcc", job.name]
        wrap += ["--enforce-contract", job.enforce] if job.enforce else []
        for function in job.replace:
            wrap += ["--replace-call-with-contract", function]
        if job.loops:
            wrap += ["--apply-loop-contracts", "--loop-contracts-file", str(HERE / job.loops)]
        _tool([*wrap, str(binary), str(binary)], limit_s)
    prove = ["cbmc", str(binary), "--json-ui", *CHECKS, "--unwind", str(job.unwind), *job.flags]
    prove += ["--object-bits", str(job.object_bits)]
    prove += ["--max-field-sensitivity-array-size", str(job.fields)]
    if job.solver == "z3":
        prove.append("--z3")
    elif job.solver:
        prove += ["--external-sat-solver", job.solver]
    library = [f"__CPROVER_contracts_{name}:80" for name in LIBRARY_LOOPS]
    if job.enforce or job.replace or job.loops:
        prove += ["--unwindset", ",".join(library)]
    return _tool(prove, limit_s, (0, 10))


def _read(job: Job, report: str, outcome: Outcome) -> None:
    results: list[dict[str, Any]] = []
    for part in json.loads(report):
        results += part.get("result", [])
    tags: dict[str, set[bool]] = {}
    postconditions = 0
    for one in results:
        good = one["status"] == "SUCCESS"
        text = f"{one['property']} {one.get('description', '')}"
        if one.get("description") == "canary":
            outcome.canary |= one["property"].startswith(f"{job.name}.") and not good
            continue
        if "to unsigned type conversion" in one.get("description", ""):
            continue  # defined in C; where it is not meant, -Wconversion asks for a cast
        outcome.checks += 1
        postconditions += ".postcondition." in one["property"]
        for tag in _tags(one):
            tags.setdefault(tag, set()).add(good)
        if not good:
            where = one.get("sourceLocation", {})
            outcome.failures.append(f"{where.get('file', '?')}:{where.get('line', '?')}: {text}")
    outcome.proved = sorted(t for t, values in tags.items() if values == {True})
    outcome.refuted = sorted(t for t, values in tags.items() if False in values)
    if job.enforce and not postconditions:
        outcome.error = "the contract has no postcondition: nothing was proved"
    if job.loops and not any(".loop_invariant_step." in one["property"] for one in results):
        outcome.error = "no loop invariant in the report"
    if not outcome.canary and not outcome.error:
        outcome.error = "the end of the harness is not reached: nothing was proved"


def _tags(result: dict[str, Any]) -> list[str]:
    """The properties that an assertion belongs to: ids at the start of its text, or in the comment
    before the ENSURES that its line lies in."""
    found = re.match(r"((?:[A-Z]+-\d+[a-z]?,? ?)+)", result.get("description", ""))
    if found:
        return re.findall(r"[A-Z]+-\d+[a-z]?", found[1])
    if ".postcondition." not in result["property"]:
        return []
    where = result.get("sourceLocation", {})
    lines = Path(where["file"]).read_text(encoding="utf-8").splitlines()
    for i in range(int(where["line"]) - 1, -1, -1):
        if "ENSURES(" in lines[i]:
            tag = TAG.search(lines[i].partition("ENSURES(")[0])
            return re.findall(r"[A-Z]+-\d+[a-z]?", tag[1]) if tag else []
    return []
