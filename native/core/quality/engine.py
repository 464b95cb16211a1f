# SPDX-License-Identifier: Apache-2.0
"""Compiles one mutant after the other and runs the tests against it.

A mutant is built by tcc (7 ms) as a shared library that takes the place of the original's
functions; tests and the rest of the code are built once. What no test finds is compiled by gcc
and clang: equal objects are equal programs. What is left is run once more with traps where C leaves
the behaviour undefined, such as an index beyond its array, as `make ctest` would.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import resource
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from ctokens import DEFINE, tokenize
from mutations import Mutant, mutants
from targets import BUILD, CORE, JOBS, Target, run

HERE = Path(__file__).resolve().parent
# tcc does not say that its code needs no executable stack, and glibc 2.41 loads no such library
# unless the process began with one.
EXECUTABLE_STACK = {"GLIBC_TUNABLES": "glibc.rtld.execstack=2"}
LEAST_CPU_MS = 500
TIMES_CPU = 5  # what the test takes on the code as it is
MEASURED_CPU_MS = 60000  # while that is not known
OBJECTS = (("gcc-14", "-O2"), ("clang-19", "-O2"), ("gcc-14", "-O3"))
TRAPS = ("-fsanitize=undefined,bounds-strict", "-fsanitize-trap=undefined", "-D_FORTIFY_SOURCE=3")
FORMATTING = re.compile(r"/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class Case:
    """A mutant of one file of a target. A header's mutant rebuilds every unit."""

    target: Target
    path: Path
    mutant: Mutant
    text: str

    @property
    def name(self) -> str:
        """Where the mutant is, for a reader."""
        return f"{self.path.name} {self.mutant}"


@dataclass(frozen=True)
class Verdict:
    """`word`: invalid, killed, crashed, timeout, same or alive; `by`: the test."""

    word: str
    by: str = "-"


def sizes_an_array(headers: Iterable[Path]) -> set[str]:
    """Macros that give arrays in headers their sizes, directly or through others: to change one in
    the code and not in the tests is no fault of the program but two programs."""
    bodies: dict[str, set[str]] = {}
    sizes: set[str] = set()
    for header in headers:
        source = header.read_text(encoding="utf-8")
        tokens = tokenize(source)
        for token in tokens:
            match = DEFINE.match(token.text) if token.kind == "directive" else None
            if match:
                bodies.setdefault(match["name"], set()).update(
                    re.findall(r"\w+", token.text[match.end() :])
                )
        depth = 0
        for token in tokens:
            depth += (token.text == "[") - (token.text == "]")
            if depth and token.kind == "name":
                sizes.add(token.text)
    while True:
        more = set().union(*(bodies.get(name, set()) for name in sizes)) - sizes
        if not more:
            return sizes
        sizes |= more


def cases(target: Target) -> list[Case]:
    """Every mutant of a target: of its units, and of the code and constants in its headers."""
    found = []
    for unit in target.units:
        source = unit.read_text(encoding="utf-8")
        found += [Case(target, unit, m, m.apply(source)) for m in mutants(unit.name, source)]
    sizes = sizes_an_array(target.headers)
    for header in target.own_headers:
        source = header.read_text(encoding="utf-8")
        for m in mutants(header.name, source):
            if m.where not in sizes:
                found.append(Case(target, header, m, m.apply(source)))
    return found


class Bench:
    """The prebuilt parts of one target, and a folder for each worker."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.folder = BUILD / "mutants" / target.name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.units = target.units
        self.code = self.folder / "code.so"
        shared = ["-O1", "-fPIC", "-shared", *target.flags]
        run(["gcc-14", *shared, *target.units, *target.support, "-o", self.code])
        self.runner = self.folder / "runner"
        run(["gcc-14", "-O1", HERE / "runner.c", "-o", self.runner, "-ldl"])
        self.tests: dict[str, Path] = {}
        self.ms: dict[str, int] = {}
        for test in target.tests:
            out = self.folder / f"{test.name}.so"
            run(["gcc-14", *shared, *test.sources, "-o", out])
            self.tests[test.name] = out
        self.free: Queue[Path] = Queue()
        for worker in range(JOBS):
            folder = self.folder / f"worker{worker}"
            folder.mkdir()
            self.free.put(folder)
        self.objects: dict[tuple[str, str, str], bytes] = {}
        self.kills: Counter[tuple[str, str]] = Counter()  # by unit and test
        self._measure()

    def _measure(self) -> None:
        """CPU time of each test on the code as it is. Raises RuntimeError if a test fails."""
        folder = self.folder / "worker0"
        unit = self.target.units[0]
        self._place(folder, unit, unit.read_text(encoding="utf-8"))
        if not self._compile(folder, [unit.name]):
            raise RuntimeError(f"tcc does not compile {unit}")
        for name in self.tests:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            verdict = self._run_tests(folder, [name])
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if verdict.word != "alive":
                raise RuntimeError(f"test {name} fails on the original: {verdict.word}")
            self.ms[name] = int(1000 * (after.ru_utime - before.ru_utime))

    def _place(self, folder: Path, path: Path, text: str) -> list[str]:
        """Put the mutated file where it is found first. Returns the units to compile."""
        for old in folder.rglob("*.[ch]"):
            old.unlink()
        if path.suffix == ".c":
            (folder / path.name).write_text(text, encoding="utf-8")
            return [path.name]
        root = next(i for i in self.target.include if i in path.parents)
        place = folder / path.relative_to(root)
        place.parent.mkdir(exist_ok=True)
        place.write_text(text, encoding="utf-8")
        for unit in self.target.units:
            shutil.copy(unit, folder / unit.name)
        return [u.name for u in self.target.units]

    def _compile(self, folder: Path, names: list[str], traps: bool = False) -> bool:
        command = ["tcc", "-Wimplicit-function-declaration", "-Werror"]
        if traps:
            command = ["gcc-14", "-O1", "-fPIC", *TRAPS]
        command += ["-I.", *self.target.flags, "-shared", *names, str(self.code)]
        command += ["-o", "mutant.so"]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        return done.returncode == 0

    def _limit_ms(self, test: str) -> int:
        known = test in self.ms
        return LEAST_CPU_MS + TIMES_CPU * self.ms[test] if known else MEASURED_CPU_MS

    def _run_tests(self, folder: Path, names: list[str]) -> Verdict:
        command = [str(self.runner), str(folder / "mutant.so"), str(self.code)]
        for name in names:
            command += [str(self.tests[name]), str(self._limit_ms(name))]
        environment = {**os.environ, "LD_LIBRARY_PATH": str(self.folder), **EXECUTABLE_STACK}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        word, by = done.stdout.split()
        if word == "broken":
            raise RuntimeError(done.stderr)
        return Verdict(word, Path(by).stem)

    def order(self, unit: str, hint: str | None) -> list[str]:
        """Tests for a mutant of a unit: what found it last, what is named like it, then those that
        found the most of the unit's mutants for their time."""

        def key(test: str) -> tuple[bool, bool, float, str]:
            worth = (1 + self.kills[unit, test]) / (10 + self.ms[test])
            return (test != hint, test != unit, -worth, test)

        return sorted(self.tests, key=key)

    def judge(self, case: Case, hint: str | None) -> Verdict:
        """Compile and test one mutant."""
        folder = self.free.get()
        try:
            names = self._place(folder, case.path, case.text)
            if not self._compile(folder, names):
                return Verdict("invalid")
            order = self.order(case.path.stem, hint)
            verdict = self._run_tests(folder, order)
            if verdict.word == "killed":
                self.kills[case.path.stem, verdict.by] += 1
            if verdict.word == "alive" and self._same(folder, names):
                return Verdict("same")
            if verdict.word == "alive" and self._compile(folder, names, traps=True):
                return self._run_tests(folder, order)
            return verdict
        finally:
            self.free.put(folder)

    def _same(self, folder: Path, names: list[str]) -> bool:
        """Whether a compiler makes the same objects of the mutant as of the original."""
        return any(
            all(
                self._object(compiler, level, folder, n, True)
                == self._object(compiler, level, folder, n, False)
                for n in names
            )
            for compiler, level in OBJECTS
        )

    def _object(self, compiler: str, level: str, folder: Path, name: str, mutated: bool) -> bytes:
        key = (compiler, level, name)
        if not mutated and key in self.objects:
            return self.objects[key]
        unit = next(u for u in self.target.units if u.name == name)
        source = folder / name if mutated else unit
        first = ["-I."] if mutated else []
        # From standard input, so that no path gets into the object.
        command = [compiler, level, *first, f"-iquote{CORE}", *self.target.flags, "-x", "c", "-c"]
        out = folder / "object.o"
        place = folder if mutated else self.folder  # a mutated header lies in the former
        done = subprocess.run(
            [*command, "-", "-o", str(out)],
            input=source.read_bytes(), cwd=place, capture_output=True, check=False,
        )  # fmt: skip
        data = out.read_bytes() if done.returncode == 0 else os.urandom(8)
        if not mutated:
            self.objects[key] = data
        return data


class Cache:
    """Verdicts of earlier runs, by the hash of everything that they depend on; resumable."""

    def __init__(self, path: Path, target: Target) -> None:
        self.path = path
        self.known: dict[str, Verdict] = {}
        self.hints: dict[str, str] = {}
        parts = [*target.units, *target.support, *target.headers]
        parts += [HERE / "runner.c", HERE / "engine.py"]
        parts += sorted({s for t in target.tests for s in t.sources})
        digest = hashlib.sha256()
        for part in parts:
            digest.update(FORMATTING.sub("", part.read_text(encoding="utf-8")).encode())
        self.base = digest.hexdigest()
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                key, id, word, by = json.loads(line)
                self.known[key] = Verdict(word, by)
                self.hints[id] = by

    def key(self, case: Case) -> str:
        """What the verdict on a mutant depends on."""
        return hashlib.sha256((self.base + case.path.name + case.text).encode()).hexdigest()[:24]

    def add(self, case: Case, verdict: Verdict) -> None:
        """Keep a verdict, at once on disk."""
        self.known[self.key(case)] = verdict
        with self.path.open("a", encoding="utf-8") as file:
            print(json.dumps([self.key(case), case.mutant.id, verdict.word, verdict.by]), file=file)


def judge_all(
    target: Target, chosen: list[Case], progress: Callable[[int, int, Counter[str]], None]
) -> list[Verdict]:
    """Verdicts on mutants, in their order; from the cache where nothing changed."""
    BUILD.mkdir(parents=True, exist_ok=True)
    cache = Cache(BUILD / f"mutants-{target.name}.jsonl", target)
    todo = [c for c in chosen if cache.key(c) not in cache.known]
    counts = Counter(cache.known[cache.key(c)].word for c in chosen if cache.key(c) in cache.known)
    if todo:
        bench = Bench(target)
        done = itertools.count(len(chosen) - len(todo) + 1)

        def one(case: Case) -> tuple[Case, Verdict]:
            return case, bench.judge(case, cache.hints.get(case.mutant.id))

        with ThreadPoolExecutor(JOBS) as pool:
            for case, verdict in pool.map(one, todo):
                cache.add(case, verdict)
                counts[verdict.word] += 1
                progress(next(done), len(chosen), counts)
    return [cache.known[cache.key(c)] for c in chosen]
