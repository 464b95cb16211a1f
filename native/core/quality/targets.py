# SPDX-License-Identifier: Apache-2.0
"""What is measured: the C units, the tests that reach them through their public headers, and how
both are compiled."""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "build" / "quality"
CORE = ROOT / "native" / "core"
FIRMWARE = ROOT / "firmware_bridge" / "mcu"
TWIN = FIRMWARE / "boards" / "twin"
JOBS = 2
LINK = ("clock", "cmac", "cobs", "e2e", "link", "message", "watchdog")


@dataclass(frozen=True)
class Test:
    """One test program: its own file, and the helpers that every test of its folder shares."""

    name: str
    sources: tuple[Path, ...]


@dataclass(frozen=True)
class Target:
    """Units to measure. `support` is linked in but measured as a target of its own, or not code."""

    name: str
    units: tuple[Path, ...]
    tests: tuple[Test, ...]
    include: tuple[Path, ...]
    support: tuple[Path, ...] = field(default=())

    @property
    def flags(self) -> list[str]:
        """Compiler options that every file of the target needs."""
        small = ["-DEG_SMALL"] if self.name == "firmware" else []
        return ["-std=c99", *small, *(f"-I{folder}" for folder in self.include)]

    @property
    def own_headers(self) -> list[Path]:
        """Headers whose code and constants are this target's."""
        folder = self.units[0].parent
        mine = [h for h in self.headers if folder in h.parents and "tests" not in h.parts]
        if self.name == "firmware":
            return [h for h in mine if h.parent == folder and h.stem != "board"]
        return [h for h in mine if (h.stem in LINK) == (self.name == "link")]

    @property
    def headers(self) -> list[Path]:
        """Every header that a unit or a test may read."""
        found = {h for folder in self.include for h in folder.glob("*.h")}
        return sorted(found | {h for folder in self.include for h in folder.glob("edgeguard/*.h")})


INCLUDE = re.compile(r'^#include "(\S+)\.([ch])"', re.MULTILINE)


def _included(source: Path) -> set[str]:
    """Stems of the local headers of a test. Raises ValueError if it goes around the headers."""
    found = INCLUDE.findall(source.read_text(encoding="utf-8"))
    if any(ending == "c" for _, ending in found):
        raise ValueError(f"{source}: a test includes a .c file")
    return {stem for stem, _ in found}


def _tests(folder: Path) -> tuple[Test, ...]:
    """The tests of a folder, each with the helpers that it includes, also through each other."""
    helpers = {f.stem: f for f in sorted(folder.glob("*.c")) if not f.name.startswith("test_")}
    found = []
    for test in sorted(folder.glob("test_*.c")):
        needs: set[str] = set()
        todo = [test]
        while todo:
            more = {h for h in _included(todo.pop()) if h in helpers} - needs
            needs |= more
            todo += [helpers[h] for h in more]
        sources = (test, *(helpers[h] for h in sorted(needs)))
        found.append(Test(test.stem.removeprefix("test_"), sources))
    return tuple(found)


def _of_core(name: str, link: bool) -> Target | None:
    """The link's part of the core, or the rest of it. A link's unit has a test of its own name."""
    units = sorted(CORE.glob("*.c"))
    tests = _tests(CORE / "tests")
    mine = tuple(u for u in units if (u.stem in LINK) == link)
    if not mine:
        return None
    return Target(
        name,
        mine,
        tuple(t for t in tests if any(t.name.startswith(n) for n in LINK) == link),
        (CORE / "include", CORE, CORE / "tests"),
        tuple(u for u in units if u not in mine) if link else (),
    )


def core() -> Target | None:
    """The decision core: it does not know the link."""
    return _of_core("decision", False)


def link() -> Target | None:
    """The link; it uses the core's CRC and answers."""
    return _of_core("link", True)


def firmware() -> Target | None:
    """The microcontroller's logic, without boards and start-up; None where there is none."""
    units = tuple(sorted(f for f in FIRMWARE.glob("*.c") if f.stem not in ("main", "seal")))
    if not units or not (FIRMWARE / "tests").is_dir():
        return None
    return Target(
        "firmware",
        units,
        _tests(FIRMWARE / "tests"),
        (FIRMWARE, TWIN, FIRMWARE / "tests", CORE / "include", CORE, CORE / "tests"),
        (*sorted(CORE.glob("*.c")), TWIN / "twin.c"),
    )


def all_targets() -> list[Target]:
    """Every target that this tree has."""
    return [t for t in (core(), link(), firmware()) if t is not None]


def run(command: list[str | Path], cwd: Path = ROOT) -> str:
    """Run a tool and return what it prints. Raises RuntimeError with its output if it fails."""
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        words = " ".join(str(c) for c in command)
        raise RuntimeError(f"{words}\n{done.stdout}{done.stderr}")
    return done.stdout


def compile_all(compiler: str, flags: list[str], sources: list[Path], out: Path) -> list[Path]:
    """Compile sources to objects in `out`, two at a time."""
    out.mkdir(parents=True, exist_ok=True)

    def one(source: Path) -> Path:
        target = out / f"{source.stem}.o"
        run([compiler, *flags, "-c", source, "-o", target], cwd=out)
        return target

    with ThreadPoolExecutor(JOBS) as pool:
        return list(pool.map(one, sources))
