#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fuzz the core and the link; compare random traces between processors. Standard library only.

    fuzz.py                     a minute's worth: the corpora again, then 10 s of each target
    fuzz.py --minutes 60        each target on a core of its own for that long
    fuzz.py --traces            the same random steps on x86-64, aarch64 (qemu-user) and Cortex-M4

fuzz_link: any bytes into the frame decoder and both receivers. fuzz_step: any table into its
check, and what passes into whole steps. AddressSanitizer and UBSan watch; what the core promises
is asserted. Findings are kept in `corpus/*/` under the name crash-*, so that they run in every CI.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from edgeguard import figures as shape

HERE = Path(__file__).resolve().parent
CORE = HERE.parent
ROOT = CORE.parent.parent
BUILD = ROOT / "build" / "fuzz"
TARGETS = {"link": 1024, "step": 8192}  # longest input in bytes
INCLUDES = [f"-I{CORE / 'include'}", f"-I{CORE / 'tests'}"]
SANITIZERS = "-fsanitize=fuzzer,address,undefined"
TRACE_SEED = 20261124


def sources() -> list[Path]:
    """The core, the link and the tests' table; what builds the Python module is C++."""
    return [*sorted(CORE.glob("*.c")), CORE / "tests" / "fixture.c"]


def run(command: Iterable[str | Path]) -> str:
    """Standard output of a command; its errors end the program with what it said."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(str(c) for c in command)}\n{done.stderr or done.stdout}")
    return done.stdout


def missing(*tools: str) -> list[str]:
    """Those of the tools that this machine has not."""
    return [tool for tool in tools if shutil.which(tool) is None]


def build(target: str) -> Path:
    """A libFuzzer program."""
    BUILD.mkdir(parents=True, exist_ok=True)
    out = BUILD / f"fuzz_{target}"
    flags = ["-std=c99", "-g", "-O1", SANITIZERS, "-fno-sanitize-recover=all"]
    run(["clang-19", *flags, *INCLUDES, HERE / f"fuzz_{target}.c", *sources(), "-o", out])
    return out


def start(target: str, seconds: int, fresh: Path) -> subprocess.Popen[str]:
    """Fuzz for that long; new inputs go to `fresh`, the committed corpus is read only."""
    known = HERE / "corpus" / target
    for folder in (fresh, known):
        folder.mkdir(parents=True, exist_ok=True)
    command = [
        str(build(target)), f"-max_len={TARGETS[target]}", f"-max_total_time={seconds}",
        "-print_final_stats=1", "-rss_limit_mb=2048", f"-artifact_prefix={known}/", "-verbosity=0",
        str(fresh), str(known),
    ]  # fmt: skip
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def fuzz(seconds: int, both: bool) -> dict[str, tuple[int, bool]]:
    """Executions and whether something was found, by target; both at once, or one by one."""
    if not both:
        return {t: outcome(t, start(t, seconds, BUILD / "corpus" / t)) for t in TARGETS}
    running = {t: start(t, seconds, BUILD / "corpus" / t) for t in TARGETS}
    return {t: outcome(t, process) for t, process in running.items()}


def outcome(target: str, process: subprocess.Popen[str]) -> tuple[int, bool]:
    """Wait for a run; prints what it found."""
    _, said = process.communicate()
    count = re.search(r"number_of_executed_units: (\d+)", said)
    if process.returncode:
        print(said[-4000:])
    n = int(count.group(1)) if count else 0
    print(f"{target}: {n:,} executions, {'FOUND SOMETHING' if process.returncode else 'nothing'}")
    return n, process.returncode != 0


def keep_corpus() -> None:
    """Merge what was learnt into the committed corpus, smallest inputs that reach everything."""
    for target, longest in TARGETS.items():
        known, fresh = HERE / "corpus" / target, BUILD / "corpus" / target
        small = BUILD / "merged" / target
        shutil.rmtree(small, ignore_errors=True)
        small.mkdir(parents=True)
        run([build(target), "-merge=1", f"-max_len={longest}", small, known, fresh])
        for file in known.iterdir():
            if not file.name.startswith("crash-"):
                file.unlink()
        for file in small.iterdir():
            shutil.copy(file, known / file.name)


def trace_on(processor: str, steps: int) -> str:
    """The trace program's line on a processor."""
    out = BUILD / f"trace-{processor}"
    BUILD.mkdir(parents=True, exist_ok=True)
    common = ["-std=c99", "-O2", *INCLUDES, HERE / "trace.c"]
    arguments = [str(steps), str(TRACE_SEED)]
    if processor == "x86-64":
        run(["cc", *common, *sources(), "-o", out])
        return run([out, *arguments]).strip()
    if processor == "aarch64":
        run(["aarch64-linux-gnu-gcc", "-static", *common, *sources(), "-o", out])
        return run(["qemu-aarch64", out, *arguments]).strip()
    target = ["-mcpu=cortex-m4", "-mthumb", "--specs=rdimon.specs", "-T", HERE / "mps2.ld"]
    run(["arm-none-eabi-gcc", *target, *common, HERE / "vectors.c", *sources(), "-o", out])
    hosting = f"enable=on,target=native,arg=trace,arg={steps},arg={TRACE_SEED}"
    board = ["-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none"]
    return run(["qemu-system-arm", *board, "-semihosting-config", hosting, "-kernel", out]).strip()


def traces(steps: int, small_steps: int) -> bool:
    """Whether all processors came to the same number."""
    lines = {p: trace_on(p, steps) for p in ("x86-64", "aarch64")}
    few = {p: trace_on(p, small_steps) for p in ("x86-64", "Cortex-M4")}
    for where in (lines, few):
        for processor, line in where.items():
            print(f"{processor:10} {line}")
    return len(set(lines.values())) == 1 and len(set(few.values())) == 1


def figure(
    name: str, value: float, bar: str | None = None, holds: bool = True
) -> dict[str, object]:
    """One figure in the project's form."""
    return {"id": name, "value": value, "unit": "1", "bar": bar, "holds": holds}


def main() -> int:
    """Parse, run, report; 1 when something was found or processors differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--minutes", type=float, help="fuzz every target for that long, in parallel"
    )
    parser.add_argument("--traces", action="store_true", help="compare processors instead")
    parser.add_argument("--steps", type=int, default=200_000, help="of a trace; 10000000 in full")
    parser.add_argument(
        "--small-steps", type=int, default=20_000, help="on the Cortex-M4; 100000 in full"
    )
    parser.add_argument("--keep", action="store_true", help="merge new inputs into the corpus")
    parser.add_argument("--json", type=Path, help="write the figures")
    given = parser.parse_args()
    figures = []
    if given.traces:
        lacking = missing(
            "aarch64-linux-gnu-gcc", "qemu-aarch64", "arm-none-eabi-gcc", "qemu-system-arm"
        )
        if lacking:
            sys.exit(
                f"missing: {', '.join(lacking)}; apt-get install -y gcc-aarch64-linux-gnu qemu-user"
                " gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
            )
        same = traces(given.steps, given.small_steps)
        figures = [
            figure("trace.steps", given.steps),
            figure("trace.same", float(same), "== 1", same),
        ]
    else:
        if missing("clang-19"):
            sys.exit("missing: clang-19; apt-get install -y clang-19 libclang-rt-19-dev")
        found = fuzz(int(given.minutes * 60) if given.minutes else 10, both=bool(given.minutes))
        for target, (n, bad) in found.items():
            figures += [
                figure(f"fuzz.{target}.executions", n),
                figure(f"fuzz.{target}.findings", float(bad), "== 0", not bad),
            ]
        if given.keep:
            keep_corpus()
    if given.json:
        shape.write(given.json, figures, TRACE_SEED, [])
    return 0 if all(f["holds"] for f in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
