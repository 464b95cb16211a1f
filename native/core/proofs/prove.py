#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prove the decision core and the link with CBMC, and that a seeded bug fails every proof.

    prove.py                    every harness, then every bug
    prove.py --short            only what takes little time: some minutes
    prove.py --only prove_rearm LATCH-2      harnesses or properties by name, with their bugs

A harness that was proved is not run again until something that it compiles changes (build/prove).
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import engine
from engine import CORE, HERE, Job, Outcome
from register import Bug, Property, complaints, read_bugs, read_properties

from edgeguard import figures

BUILD = CORE.parent.parent / "build" / "prove"
PACKAGES = {
    "cbmc": "cbmc", "goto-cc": "cbmc", "goto-instrument": "cbmc", "z3": "z3", "kissat": "kissat",
    "patch": "patch", "prlimit": "util-linux",
}  # fmt: skip

Task = TypeVar("Task")


@dataclass
class Report:
    """What came out, harness by harness and bug by bug."""

    properties: dict[str, Property]
    chosen: list[Job]
    jobs: dict[str, Outcome] = field(default_factory=dict)
    rejected: dict[str, bool] = field(default_factory=dict)

    @property
    def proved(self) -> list[str]:
        """Properties that a harness proves, where every harness that speaks of them holds."""
        good = {p for o in self.jobs.values() for p in o.proved}
        bad = {t for j in self.chosen for t in j.tags if not self.jobs[j.name].holds}
        return [p for p in self.properties if p in good - bad]


def missing(jobs: Sequence[Job]) -> list[str]:
    """Packages of the tools that this machine lacks."""
    tools = {"cbmc", "goto-cc", "goto-instrument", "patch", "prlimit"}
    tools |= {job.solver for job in jobs if job.solver}
    return sorted({PACKAGES[t] for t in tools if shutil.which(t) is None})


def side_by_side(
    tasks: Sequence[Task], run: Callable[[Task], Outcome], at_once: int
) -> list[Outcome]:
    """Outcomes in the order of the tasks, each printed by `run` when it is there."""
    with ThreadPoolExecutor(at_once) as pool:
        try:
            return list(pool.map(run, tasks))
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise


def line(name: str, about: str, properties: str, outcome: Outcome, verdict: str) -> None:
    """One row of the table."""
    seconds = "kept" if outcome.cached else f"{outcome.seconds:.1f} s"
    print(
        f"{name:<30} {about:<24} {properties:<26} {outcome.checks:>6} {seconds:>8}  {verdict}",
        flush=True,
    )


def prove(job: Job, core: Path, limit_s: int) -> Outcome:
    """One harness over the sources in `core`."""
    outcome = engine.run(job, core, BUILD, limit_s)
    verdict = "holds" if outcome.holds else outcome.error or "FAILS"
    function = job.enforce.partition("/")[0]
    line(job.name, function, ", ".join(outcome.proved), outcome, verdict)
    for failure in outcome.failures[:5]:
        print(f"    {failure}")
    return outcome


def seed(bug: Bug, jobs: dict[str, Job], core: Path, limit_s: int) -> Outcome:
    """The harness that a bug names, over a copy of the sources that has the bug."""
    outcome = engine.run(jobs[bug.job], bug.copy(core, BUILD / "bugs"), BUILD, limit_s)
    if bug.breaks in outcome.refuted:
        verdict = "rejected"
    else:
        verdict = f"NOT REJECTED: {outcome.error or outcome.refuted or 'everything holds'}"
    line(f"bug {bug.name}", bug.job, bug.says[:26], outcome, verdict)
    return outcome


def choose(jobs: Sequence[Job], given: argparse.Namespace) -> list[Job]:
    """The harnesses to run; `--only` also takes the ids of properties."""
    if given.short:
        return [j for j in jobs if not j.seconds]
    if not given.only:
        return list(jobs)
    chosen = [j for j in jobs if j.name in given.only or j.tags & set(given.only)]
    unknown = set(given.only) - {j.name for j in jobs} - {t for j in jobs for t in j.tags}
    if unknown:
        sys.exit(f"--only: no harness and no property is called {', '.join(sorted(unknown))}")
    return chosen


def run(jobs: Sequence[Job], bugs: Sequence[Bug], given: argparse.Namespace) -> Report:
    """Everything that was asked for, the longest first."""
    order = sorted(jobs, key=lambda job: -job.seconds)
    report = Report(read_properties(), order)
    outcomes = side_by_side(order, lambda j: prove(j, given.core, given.limit), given.jobs)
    report.jobs = {job.name: outcome for job, outcome in zip(order, outcomes, strict=True)}
    by_name = {job.name: job for job in jobs}
    order_of_bugs = sorted(bugs, key=lambda bug: -by_name[bug.job].seconds)
    outcomes = side_by_side(
        order_of_bugs, lambda b: seed(b, by_name, given.core, given.limit), given.jobs
    )
    for bug, outcome in zip(order_of_bugs, outcomes, strict=True):
        report.rejected[bug.name] = bug.breaks in outcome.refuted
    return report


def numbers(report: Report, partly: bool) -> list[figures.Figure]:
    """The figures; of a part of the suite, counted over that part."""
    wanted = len({tag for job in report.chosen for tag in job.tags})
    properties = wanted if partly else len(report.properties)
    held = sum(o.holds for o in report.jobs.values())
    return [
        figures.Figure("proof.harnesses", len(report.jobs)),
        figures.at_least("proof.harnesses_held", held, len(report.jobs)),
        figures.Figure("proof.properties", properties),
        figures.at_least("proof.properties_proved", len(report.proved), properties),
        figures.Figure("proof.seeded_bugs", len(report.rejected)),
        figures.at_least(
            "proof.seeded_bugs_rejected", sum(report.rejected.values()), len(report.rejected)
        ),
    ]


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="only harnesses without `seconds`")
    parser.add_argument("--small", action="store_true", help="as the microcontroller is built")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="harnesses or properties")
    parser.add_argument("--core", type=Path, default=CORE, help="folder of the C sources")
    parser.add_argument("--json", type=Path, help="write the figures")
    parser.add_argument("--bugs", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--limit", type=int, default=600, help="seconds of processor a harness")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="at once")
    return parser.parse_args()


def main() -> int:
    """1 if a proof fails or a bug passes, 2 if something is missing or does not fit together."""
    given = arguments()
    if given.json:
        figures.check_writable(given.json)
    jobs, bugs = engine.read_jobs(), read_bugs(HERE / "bugs")
    if given.small:
        jobs = [replace(job, defines=("-DEG_SMALL",)) for job in jobs]
    lacking = missing(jobs)
    if lacking:
        print(f"missing: {', '.join(lacking)}; apt-get install -y {' '.join(lacking)}")
        return 2
    wrong = complaints(jobs, bugs)
    for complaint in wrong:
        print(complaint)
    chosen = choose(jobs, given)
    names = {job.name for job in chosen}
    seeded = [b for b in bugs if given.bugs and b.job in names]
    report = run(chosen, seeded, given)
    results = numbers(report, given.short or bool(given.only))
    n = {figure.id.partition(".")[2]: int(figure.value) for figure in results}
    print(f"harnesses held {n['harnesses_held']} of {n['harnesses']}")
    print(f"properties proved {n['properties_proved']} of {n['properties']}")
    print(f"seeded bugs rejected {n['seeded_bugs_rejected']} of {n['seeded_bugs']}")
    if given.json:
        figures.write(given.json, results, None, [])
    if wrong:
        return 2
    return 0 if all(f.holds is not False for f in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
