# SPDX-License-Identifier: Apache-2.0
"""Record a guard that nothing is spared, and play the tape again on two processors.

    python -m tests.output.recorder.processors --ticks 1000000

The decisions are compared bit for bit by `edgeguard replay` and by native/core/record/replay_tape.c
on x86-64 and, under qemu-user, on aarch64; the hashes of all that was computed must be the same.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgeguard import figures as shape
from edgeguard.output.recorder import Recorder
from edgeguard.output.recorder.verify import State, verify
from edgeguard.replay import export, replay
from tests.faults.bench import LABELS, MEMBERS, Bench, certain, write_policy

CORE = Path(__file__).parents[3] / "native" / "core"
COMPILERS = {
    "x86-64": ("cc", ()),
    "aarch64": ("aarch64-linux-gnu-gcc", ("qemu-aarch64",)),
}
SEED = 20261125


def built(where: str, folder: Path) -> list[str]:
    """The command that plays a tape on this processor."""
    compiler, runner = COMPILERS[where]
    out = folder / f"replay_{where}"
    sources = [*CORE.glob("*.c"), CORE / "record" / "record.c", CORE / "record" / "replay.c"]
    subprocess.run(
        [
            *(compiler, "-static", "-std=c99", "-O2", f"-I{CORE / 'include'}", *sources),
            *(CORE / "record" / "replay_tape.c", "-o", out),
        ],
        check=True,
    )
    return [*runner, str(out)]


def drive(bench: Bench, ticks: int, recorder: Recorder) -> None:
    """Random labels, certainties, members that fall silent, NaN, clock steps, people."""
    dice = random.Random(SEED)
    label, certainty, saying = "ten", 1.0, MEMBERS
    bench.guard.arm()
    for tick in range(ticks):
        if tick % 97 == 0:
            label, certainty = dice.choice(LABELS), dice.choice([0.5, 0.79, 0.81, 0.97, 0.99, 1.0])
            saying = tuple(m for m in MEMBERS if dice.random() < 0.9)
            bench.signals["speed"] = dice.choice([0.0, 0.05, 3.0, 20.0, 69.0])
        event = dice.random()
        if tick % 3 == 0:
            bench.say(certain(label, certainty), saying, late_ms=dice.choice([5, 5, 5, 24, 30]))
        if event < 0.002:
            bench.say(certain(label) * float("nan"), (dice.choice(MEMBERS),))
        elif event < 0.003:
            bench.signals["speed"] = float("nan")
        elif event < 0.006:
            bench.guard.rearm("operator")
        elif event < 0.0065:
            bench.guard.takeover()
        elif event < 0.0075:
            bench.guard.note(dice.getrandbits(29))
        bench.tick(dice.choice([-20, 0, 25, 200]) if event > 0.999 else 10)
        bench.commands.clear()
        recorder.pace()


def compared(ticks: int, folder: Path) -> dict[str, str]:
    """Record, verify, replay here, and what the program says on each processor."""
    bench = Bench(write_policy(folder), operator_token="operator")
    recorder = bench.guard.record(folder / "flight.mcap", key=folder / "key.json")
    drive(bench, ticks, recorder)
    bench.guard.close()
    verdict = verify(recorder.path, (folder / "key.pub").read_text().strip())
    if (verdict.state, verdict.decisions) != (State.CLOSED, ticks):
        sys.exit(f"the log is not what was recorded: {verdict}")
    outcome = replay(recorder.path)
    if outcome.difference or outcome.decisions != ticks:
        sys.exit(f"replay: {outcome}")
    print(f"{'here':8} {ticks} decisions, {recorder.path.stat().st_size / 1e6:.1f} MB")
    with (folder / "tape").open("wb") as out:
        export(recorder.path, out)
    said = {}
    for where in COMPILERS:
        done = subprocess.run(
            [*built(where, folder), folder / "tape"], capture_output=True, text=True, check=False
        )
        said[where] = done.stdout.strip()
        print(f"{where:8} {said[where]} {done.stderr.strip()}")
    return said


def main() -> int:
    """1 when a processor comes to something else."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=20_000)
    parser.add_argument("--json", type=Path, help="write the figures")
    given = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        said = compared(given.ticks, Path(folder))
    same = len(set(said.values())) == 1 and said["x86-64"].startswith(f"{given.ticks} decisions")
    figures = [
        {"id": "replay.ticks", "value": given.ticks, "unit": "1", "bar": None, "holds": True},
        {"id": "replay.same", "value": float(same), "unit": "1", "bar": "== 1", "holds": same},
    ]
    print(f"{'the same' if same else 'NOT THE SAME'}, in {time.monotonic() - began_s:.0f} s")
    if given.json:
        shape.write(given.json, figures, SEED, ["edgeguard-monitor"])
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
