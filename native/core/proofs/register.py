# SPDX-License-Identifier: Apache-2.0
"""The register of properties and the seeded bugs, and whether both fit the harnesses."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine import HERE, Job

from edgeguard.config.toml import tomllib

BUG = re.compile(r"(?P<property>[A-Z]+-\d+[a-z]?)(-\d+)?\.patch")


@dataclass(frozen=True)
class Property:
    """What is proved, in a sentence, and the faults that it answers."""

    id: str
    says: str
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Bug:
    """A patch that breaks one property; its first line is `harness: what it breaks`."""

    file: Path
    breaks: str
    job: str
    says: str

    @property
    def name(self) -> str:
        return self.file.stem

    def copy(self, core: Path, work: Path) -> Path:
        """A copy of the C sources with the bug in it. Raises SystemExit if it does not apply."""
        folder = work / self.name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(core / "include", folder / "include")
        for source in [*core.glob("*.c"), *core.glob("*.h")]:
            shutil.copy(source, folder)
        done = subprocess.run(
            ["patch", "-s", "-p1", "-d", str(folder), "-i", str(self.file)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{self.file}: does not apply: {done.stdout.strip() or done.stderr.strip()}")
        return folder


def read_properties(folder: Path = HERE) -> dict[str, Property]:
    """By id, out of `properties*.toml`. Raises SystemExit for an id that is there twice."""
    found: dict[str, Property] = {}
    for file in sorted(folder.glob("properties*.toml")):
        for id_, row in tomllib.loads(file.read_text(encoding="utf-8")).items():
            if id_ in found:
                sys.exit(f"{file}: {id_} is in the register twice")
            found[id_] = Property(id_, row["says"], tuple(row.get("faults", ())))
    return found


def read_bugs(folder: Path) -> list[Bug]:
    """The patches in a folder. Raises SystemExit for one without a name or first line."""
    bugs = []
    for file in sorted(folder.glob("*.patch")):
        name = BUG.fullmatch(file.name)
        first = file.read_text(encoding="utf-8").partition("\n")[0]
        job, colon, says = first.partition(": ")
        if not name or not colon:
            sys.exit(f"{file}: want PROPERTY[-2].patch, and a first line `harness: what it breaks`")
        bugs.append(Bug(file, name["property"], job, says))
    return bugs


def complaints(jobs: Sequence[Job], bugs: Sequence[Bug]) -> list[str]:
    """What does not fit together, in words."""
    known = set(read_properties())
    used = {tag for job in jobs for tag in job.tags}
    seeded = {bug.breaks for bug in bugs}
    names = {job.name for job in jobs}
    proved = {name for job in jobs for name in (job.enforce, *job.proves) if name}
    found = [f"{id_}: in a harness, not in the register" for id_ in sorted(used - known)]
    found += [f"{id_}: in the register, in no harness" for id_ in sorted(known - used)]
    found += [f"{id_}: no seeded bug" for id_ in sorted(known - seeded)]
    found += [f"{b.file.name}: no such property" for b in bugs if b.breaks not in known]
    found += [f"{b.file.name}: no harness called {b.job}" for b in bugs if b.job not in names]
    for job in jobs:
        trusted = sorted(set(job.replace) - proved)
        found += [f"{job.name}: takes {name} for granted, which nobody proves" for name in trusted]
    return found
