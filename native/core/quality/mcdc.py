# SPDX-License-Identifier: Apache-2.0
"""Line, branch and MC/DC coverage of the C code from its tests: gcc-14 is the gate, clang-19 the
cross-check. Measured at -O0, for the number of conditions changes with optimization.

    python native/core/quality/mcdc.py [--json FILE] [--no-clang]
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from targets import BUILD, JOBS, ROOT, Target, Test, all_targets, compile_all, run

from edgeguard import figures

KINDS = ("line", "branch", "condition")
NAMES = {"line": "line", "branch": "branch", "condition": "mcdc"}
EXCLUDED = re.compile(r"GCOVR_EXCL_\w+(.*)")


def link_and_run(
    target: Target, compiler: str, flags: list[str], out: Path, profile: bool
) -> list[Path]:
    """Build every test of a target with the instrumented units and run it. Returns the programs."""
    objects = compile_all(compiler, [*flags, *target.flags], list(target.units), out / "units")
    plain = ["-O0", *target.flags]
    support = compile_all(compiler, plain, list(target.support), out / "support")

    def built(test: Test) -> Path:
        parts = compile_all(compiler, plain, list(test.sources), out / f"test_{test.name}")
        program = out / f"test_{test.name}" / "test"
        run([compiler, *flags, *parts, *objects, *support, "-o", program], cwd=out)
        environment = [f"LLVM_PROFILE_FILE={out}/{test.name}.profraw"] if profile else []
        run(["env", *environment, program], cwd=out)  # gcc's counters add up under a lock
        return program

    with ThreadPoolExecutor(JOBS) as pool:
        return list(pool.map(built, target.tests))


def gcc(target: Target, out: Path) -> dict[str, Any]:
    """Coverage by gcc-14 as gcovr's JSON summary."""
    link_and_run(
        target, "gcc-14", ["-O0", "--coverage", "-fcondition-coverage", "-fprofile-abs-path"],
        out, False,
    )  # fmt: skip
    report = out / "summary.json"
    run(
        [Path(sys.executable).with_name("gcovr"), "--gcov-executable", "gcov-14", "-r", ROOT,
         *(f"--filter={re.escape(str(u))}$" for u in target.units),
         "--json-summary", report, "--json", out / "full.json", "--txt-metric", "condition",
         "--txt", out / "missing.txt", "--merge-mode-functions=separate", out]
    )  # fmt: skip
    summary: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return summary


def clang(target: Target, out: Path) -> dict[str, Any]:
    """Coverage by clang-19 as llvm-cov's totals."""
    flags = ["-O0", "-fprofile-instr-generate", "-fcoverage-mapping", "-fcoverage-mcdc"]
    programs = link_and_run(target, "clang-19", flags, out, True)
    merged = out / "all.profdata"
    run(["llvm-profdata-19", "merge", "-o", merged, *sorted(out.glob("*.profraw"))])
    objects = [part for p in programs for part in ("--object", p)][1:]
    export = run(
        ["llvm-cov-19", "export", "--summary-only", f"--instr-profile={merged}", *objects,
         *target.units]
    )  # fmt: skip
    data: dict[str, Any] = json.loads(export)["data"][0]
    if data["totals"]["mcdc"]["percent"] < 100 or data["totals"]["branches"]["percent"] < 100:
        print(
            run(
                ["llvm-cov-19", "show", "--show-mcdc", "--show-branches=count",
                 f"--instr-profile={merged}", *objects, *target.units]
            ),
            file=(out / "show.txt").open("w", encoding="utf-8"),
        )  # fmt: skip
    return data


def exclusions(target: Target) -> list[tuple[str, str]]:
    """Lines taken out of the measurement, each with the reason that stands beside it."""
    found = []
    for unit in target.units:
        for number, line in enumerate(unit.read_text(encoding="utf-8").splitlines(), 1):
            match = EXCLUDED.search(line)
            if match and "_STOP" not in line:
                reason = match.group(1).strip(" :*/")
                found.append((f"{unit.relative_to(ROOT)}:{number}", reason))
    return found


def missing(full: Path) -> list[str]:
    """Every line, branch and condition without cover, for whoever has to write the test."""
    lines = []
    for file in json.loads(full.read_text(encoding="utf-8"))["files"]:
        for line in file["lines"]:
            where = f"{file['file']}:{line['line_number']}"
            if line["count"] == 0:
                lines.append(f"{where}: not run")
            lines += [f"{where}: a branch not taken" for b in line["branches"] if b["count"] == 0]
            for c in line.get("conditions", []):
                if c["covered"] < c["count"]:
                    not_true, not_false = c["not_covered_true"], c["not_covered_false"]
                    lines.append(f"{where}: conditions not true {not_true}, not false {not_false}")
    return lines


def show(target: Target, summary: dict[str, Any], cross: dict[str, Any] | None) -> None:
    """The table of one target, and what misses."""
    print(f"{target.name}: {'':<30} line        branch      MC/DC")
    for file in summary["files"]:
        cells = [f"{file[f'{k}_covered']:>4}/{file[f'{k}_total']:<5}" for k in KINDS]
        print(f"  {file['filename']:<36} {'  '.join(cells)}")
    cells = [f"{summary[f'{k}_covered']:>4}/{summary[f'{k}_total']:<5}" for k in KINDS]
    print(f"  {'all, gcc-14':<36} {'  '.join(cells)}")
    if cross:
        totals = [cross["totals"][k] for k in ("lines", "branches", "mcdc")]
        cells = [f"{t['covered']:>4}/{t['count']:<5}" for t in totals]
        print(f"  {'all, clang-19':<36} {'  '.join(cells)}")


def measure(target: Target, with_clang: bool) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Both measurements of one target, from an empty folder."""
    out = BUILD / "coverage" / target.name
    shutil.rmtree(out, ignore_errors=True)
    (out / "gcc").mkdir(parents=True)
    (out / "clang").mkdir()
    summary = gcc(target, out / "gcc")
    cross = clang(target, out / "clang") if with_clang else None
    show(target, summary, cross)
    for line in missing(out / "gcc" / "full.json"):
        print(f"  MISSING {line}")
    return summary, cross


def percent(parts: list[tuple[int, int]]) -> float:
    """Covered of all, in percent, rounded down, so that 100 means all."""
    covered, total = (sum(p[i] for p in parts) for i in (0, 1))
    return 100.0 if covered == total else int(10000 * covered / total) / 100


def main() -> int:
    """Measure, print, write; 1 if anything is below 100 % or excluded without a reason."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", type=Path)
    options.add_argument("--no-clang", action="store_true")
    names = [t.name for t in all_targets()]
    options.add_argument("--target", action="append", choices=names, help="only these")
    given = options.parse_args()
    chosen = [t for t in all_targets() if not given.target or t.name in given.target]
    results = [measure(t, not given.no_clang) for t in chosen]
    out, bad = [], 0
    for kind in KINDS:
        parts = [(s[f"{kind}_covered"], s[f"{kind}_total"]) for s, _ in results]
        value = percent(parts)
        figure = figures.at_least(
            f"coverage.{NAMES[kind]}", value, 100, "%", sum(p[1] for p in parts)
        )
        out.append(figure)
    if not given.no_clang:
        parts = [
            (c["totals"]["mcdc"]["covered"], c["totals"]["mcdc"]["count"]) for _, c in results if c
        ]
        out.append(
            figures.at_least(
                "coverage.mcdc.clang", percent(parts), 100, "%", sum(p[1] for p in parts)
            )
        )
    taken_out = [e for t in chosen for e in exclusions(t)]
    for where, reason in taken_out:
        print(f"excluded {where}: {reason or 'NO REASON GIVEN'}")
        bad += not reason
    out.append(figures.Figure("coverage.excluded", len(taken_out), "lines"))
    for figure in out:
        print(
            f"{figure.id:<22} {figure.value:g} {figure.unit}"
            + ("" if figure.holds in (None, True) else "  TOO LOW")
        )
        bad += figure.holds is False
    if given.json:
        figures.write(given.json, out, None, ["gcovr"])
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
