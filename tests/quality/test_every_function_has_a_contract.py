# SPDX-License-Identifier: Apache-2.0
"""Every function of the core and of the link has a contract that a harness proves."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

CORE = Path(__file__).parents[2] / "native" / "core"
FUNCTION = re.compile(r"^\w[\w *\n]*?\b(\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def load() -> ModuleType:
    """The reader of the harnesses, under a name of its own: the mutants have an `engine` too."""
    spec = importlib.util.spec_from_file_location("proofs_engine", CORE / "proofs" / "engine.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


engine = load()


def sources(core: Path) -> list[Path]:
    return sorted(core.glob("*.[ch]"))


def compiled(file: Path, core: Path) -> set[str]:
    """Names of the core's files that a harness file includes, also through each other."""
    found: set[str] = set()
    todo = [file]
    while todo:
        for name in INCLUDE.findall(todo.pop().read_text(encoding="utf-8")):
            there = [p for p in (core / "proofs" / name, core / name) if p.exists()]
            todo += [p for p in there if p.name not in found]
            found |= {p.name for p in there}
    return found


def without_contract(core: Path) -> list[str]:
    """`file: function` of what no harness proves. The same name in another file does not count."""
    proved = set()
    for job in engine.read_jobs(core / "proofs"):
        files = compiled(job.file, core) | set(job.links)
        names = {name.partition("/")[0] for name in (job.enforce, *job.proves)}
        proved |= {(file, name) for file in files for name in names}
    defined = [(f.name, n) for f in sources(core) for n in FUNCTION.findall(f.read_text("utf-8"))]
    return [f"{file}: {name}" for file, name in defined if (file, name) not in proved]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The C sources and their harnesses, to be spoilt."""
    for file in sources(CORE):
        shutil.copy(file, tmp_path)
    (tmp_path / "proofs").mkdir()
    for file in (CORE / "proofs").glob("*.[ch]"):
        shutil.copy(file, tmp_path / "proofs")
    return tmp_path


def test_every_function_has_a_contract() -> None:
    assert without_contract(CORE) == []


def test_no_function_is_overlooked() -> None:
    """clang-format lets a line of `}` alone end a function, and nothing else."""
    for file in sources(CORE):
        text = file.read_text(encoding="utf-8")
        assert len(FUNCTION.findall(text)) == text.count("\n}\n"), file.name


@pytest.mark.parametrize("head", ["static bool\nnobody", "uint32_t eg_nobody", "static void add"])
def test_a_new_function_is_found(copy: Path, head: str) -> None:
    """One of another file's name, too: `add` of cmac.c is proved."""
    with (copy / "crc.c").open("a", encoding="utf-8") as out:
        out.write(f"\n{head}(uint32_t a,\n{' ' * len(head)} uint32_t b) {{\n}}\n")
    assert without_contract(copy) == [f"crc.c: {head.rsplit(maxsplit=1)[-1]}"]


def test_a_harness_that_is_gone_is_found(copy: Path) -> None:
    harness = copy / "proofs" / "link_small_watchdog.c"
    text = harness.read_text(encoding="utf-8")
    assert "/*! enforce fail */" in text
    harness.write_text(text.replace("/*! enforce fail */", ""), encoding="utf-8")
    assert without_contract(copy) == ["watchdog.c: fail"]
