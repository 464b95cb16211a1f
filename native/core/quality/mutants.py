# SPDX-License-Identifier: Apache-2.0
"""Mutation testing of the core, the link and the firmware's logic.

python native/core/quality/mutants.py [--sample N --seed S] [--file NAME...] [--json FILE]
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

from engine import Case, Verdict, cases, judge_all
from equivalence import audit, harnesses, prove
from targets import Target, all_targets

from edgeguard import figures

WORDS = ("killed", "crashed", "timeout", "same", "proved", "alive")


class Progress:
    """A line that says how far it is; on a terminal it stays one line."""

    def __init__(self) -> None:
        self.started = self.last = time.monotonic()

    def __call__(self, done: int, total: int, counts: Counter[str]) -> None:
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if now - self.last < (0.2 if terminal else 10) and done != total:
            return
        self.last = now
        words = " ".join(f"{counts[w]} {w}" for w in WORDS if counts[w])
        line = f"{done}/{total} in {now - self.started:.0f} s: {words}"
        print(f"\r{line:<78}" if terminal else line, end="" if terminal else "\n", file=sys.stderr)
        if terminal and done == total:
            print(file=sys.stderr)


def choose(found: list[Case], given: argparse.Namespace) -> list[Case]:
    """The mutants that were asked for."""
    if given.file:
        found = [c for c in found if c.path.name in given.file]
    if given.sample:  # of those that tests should find: proofs take longer than a sample may
        proved = {m for h in harnesses() for m in h.mutants}
        found = [c for c in found if c.mutant.id not in proved]
        found = random.Random(given.seed).sample(found, min(given.sample, len(found)))
    return found


def settle(
    judged: list[tuple[Case, Verdict]], whole: bool
) -> tuple[list[tuple[Case, Verdict]], list[str]]:
    """Prove what no test finds. Of a whole target the harnesses are looked at as well."""
    alive = [c for c, v in judged if v.word == "alive"]
    proved, wrong = prove(alive)
    if whole:
        units = {u.name for c, _ in judged for u in c.target.units}
        wrong += audit(units, alive, [c for c, v in judged if v.word == "killed"])
    return [
        (c, Verdict("proved") if v.word == "alive" and c.mutant.id in proved else v)
        for c, v in judged
    ], wrong


def table(target: Target, judged: list[tuple[Case, Verdict]]) -> None:
    """One row a file, and their sum."""
    if not judged:
        return
    print(f"{target.name + ' mutants':<26}{'total':>8}" + "".join(f"{w:>9}" for w in WORDS))
    by_file: dict[str, Counter[str]] = {}
    for case, verdict in judged:
        by_file.setdefault(case.path.name, Counter())[verdict.word] += 1
    by_file["all"] = sum(by_file.values(), Counter())
    for name, counts in by_file.items():
        total = sum(counts.values())
        print(f"  {name:<24}{total:>8}" + "".join(f"{counts[w]:>9}" for w in WORDS))


def main() -> int:
    """Run, print, write; 1 if a mutant survives."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sample", type=int, help="so many of each target, drawn by --seed")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--file", action="append", help="only mutants of this file")
    names = [t.name for t in all_targets()]
    options.add_argument("--target", action="append", choices=names, help="only these")
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    everything: list[tuple[Case, Verdict]] = []
    for target in all_targets():
        if given.target and target.name not in given.target:
            continue
        chosen = choose(cases(target), given)
        verdicts = judge_all(target, chosen, Progress())
        everything += [(c, v) for c, v in zip(chosen, verdicts, strict=True) if v.word != "invalid"]
    if not everything:
        options.error("there is no mutant of that")
    everything, wrong = settle(everything, not (given.sample or given.file))
    for target in all_targets():
        table(target, [(c, v) for c, v in everything if c.target.name == target.name])
    counts = Counter(v.word for _, v in everything)
    for line in wrong:
        print(f"PROOF {line}")
    for case, verdict in everything:
        if verdict.word == "alive":
            print(f"SURVIVES {case.name}")
    out = [
        figures.Figure("mutants.total", len(everything), "mutants"),
        figures.Figure("mutants.killed", counts["killed"], "mutants"),
        figures.Figure("mutants.crashed", counts["crashed"], "mutants"),
        figures.Figure("mutants.timed_out", counts["timeout"], "mutants"),
        figures.Figure("mutants.equivalent", counts["same"] + counts["proved"], "mutants"),
        figures.Figure("mutants.proved", counts["proved"], "mutants"),
        figures.at_most("mutants.surviving", counts["alive"], 0, "mutants"),
    ]
    for figure in out:
        print(f"{figure.id:<20} {figure.value:g}")
    if given.json:
        figures.write(given.json, out, given.seed if given.sample else None, [])
    return 1 if counts["alive"] or wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
