# SPDX-License-Identifier: Apache-2.0
"""What a firmware image takes: ``python -m firmware_bridge.mcu.footprint OUT [--json FILE]``.

OUT is where the Makefile built: the image and, for each object, the compiler's call graph with the
stack of every function. Functions of the C library come without; theirs is read off the machine
code. Exits 1 when flash or RAM are above their bars, a stack cannot be bounded, or calls go round.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from edgeguard import figures
from edgeguard.figures import Figure, at_most
from firmware_bridge.mcu.elf import Elf

FLASH_BAR = 24 * 1024
RAM_BAR = 4 * 1024
ENTRY = "eg_reset"
EXCEPTION_BYTES = 36  # what the processor stacks for an NMI, aligned; the handler needs nothing
CANARY_BYTES = 16

_NODE = re.compile(r'node: { title: "([^"]+)" label: "([^"]*)"')
_EDGE = re.compile(r'edge: { sourcename: "([^"]+)" targetname: "([^"]+)"')
_BYTES = re.compile(r"(\d+) bytes \(([^)]*)\)")


class Unbounded(Exception):
    """The stack has no bound that can be computed; says why."""


class Graph:
    """Who calls whom, and what each function keeps on the stack."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}
        self.calls: dict[str, set[str]] = {}

    def read(self, text: str) -> None:
        """Take in one object's call graph (``-fcallgraph-info=su``)."""
        for title, label in _NODE.findall(text):
            found = _BYTES.search(label)
            if found is None:
                continue  # somebody else's
            if found[2] not in ("static", "dynamic,bounded"):
                raise Unbounded(f"{title}: its stack is {found[2]}")
            self.bytes[title] = int(found[1])
        for caller, callee in _EDGE.findall(text):
            self.calls.setdefault(caller, set()).add(callee)

    def add_library(self, machine_code: dict[str, tuple[int, set[str]]]) -> None:
        """What the compiler did not see: functions as they were disassembled."""
        for name, (size, callees) in machine_code.items():
            if name not in self.bytes:
                self.bytes[name] = size
                self.calls[name] = callees

    def deepest(self, start: str) -> tuple[int, list[str]]:
        """Worst-case stack from a function on, and the way there."""
        done: dict[str, tuple[int, list[str]]] = {}
        return self._down(start, (), done)

    def _down(
        self, name: str, above: tuple[str, ...], done: dict[str, tuple[int, list[str]]]
    ) -> tuple[int, list[str]]:
        if name in above:
            raise Unbounded("recursion: " + " > ".join([*above[above.index(name) :], name]))
        if name not in self.bytes:
            raise Unbounded(f"{name}: nobody knows its stack (called by {above[-1]})")
        if name not in done:
            below = [
                self._down(callee, (*above, name), done) for callee in self.calls.get(name, ())
            ]
            size, way = max(below, default=(0, []))
            done[name] = self.bytes[name] + size, [name, *way]
        return done[name]


def disassembled(elf: Path, objdump: str) -> dict[str, tuple[int, set[str]]]:
    """Stack and callees of every function, as far as its instructions tell."""
    text = subprocess.run(
        [objdump, "-d", "--no-show-raw-insn", str(elf)], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, tuple[int, set[str]]] = {}
    for block in re.split(r"\n(?=[0-9a-f]+ <)", text):
        head = re.match(r"[0-9a-f]+ <([^>]+)>:", block)
        if head is None:
            continue
        size = sum(4 * _registers(regs) for regs in re.findall(r"\bpush\S*\s+{([^}]*)}", block))
        size += sum(4 * _registers(r) for r in re.findall(r"stmdb\s+sp!, {([^}]*)}", block))
        size += sum(int(n) for n in re.findall(r"\bsub\S*\s+sp, (?:sp, )?#(\d+)", block))
        size += sum(int(n) for n in re.findall(r"\bstr\S*\s+\S+, \[sp, #-(\d+)\]!", block))
        callees = set(re.findall(r"\bbl?(?:\.[nw])?\s+[0-9a-f]+ <([^>+]+)>", block)) - {head[1]}
        found[head[1]] = size, callees
    return found


def _registers(text: str) -> int:
    count = 0
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        count += int(last[1:]) - int(first[1:]) + 1 if last else 1
    return count


@dataclass(frozen=True)
class Footprint:
    """Bytes."""

    flash: int
    static: int  # .data, .bss, .noinit, .dma
    stack: int  # at worst, with an exception on top and the canary below
    way: list[str]  # the calls of that

    @property
    def ram(self) -> int:
        """All of it."""
        return self.static + self.stack


def measure(out: Path, objdump: str = "arm-none-eabi-objdump") -> Footprint:
    """The footprint of the image in ``out``; raises ``Unbounded``."""
    elf = Elf(out / "firmware.elf")
    graph = Graph()
    for path in sorted(out.glob("*.ci")):
        graph.read(path.read_text())
    graph.add_library(disassembled(out / "firmware.elf", objdump))
    stack, way = graph.deepest(ENTRY)
    stack += EXCEPTION_BYTES + CANARY_BYTES
    reserved = elf.symbols["eg_stack_top"].address - elf.symbols["eg_stack_limit"].address
    if stack > reserved:
        raise Unbounded(f"{stack} bytes of stack, and only {reserved} are reserved")
    kept = (".data", ".bss", ".noinit", ".dma")
    static = sum(elf.sections[name].size for name in kept if name in elf.sections)
    flash = sum(s.file_size for s in elf.segments)
    return Footprint(flash, static, stack, [name.rsplit(":", 1)[-1] for name in way])


def measured(found: Footprint) -> list[Figure]:
    """As every command of the project writes them."""
    return [
        at_most("mcu.footprint.flash", found.flash, FLASH_BAR, "B"),
        at_most("mcu.footprint.ram", found.ram, RAM_BAR, "B"),
        Figure("mcu.footprint.static", found.static, "B"),
        Figure("mcu.footprint.stack", found.stack, "B"),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Print the footprint; 1 when a bar does not hold."""
    parser = argparse.ArgumentParser(prog="firmware_bridge.mcu.footprint")
    parser.add_argument("out", type=Path)
    parser.add_argument("--json", type=Path, dest="file")
    options = parser.parse_args(arguments)
    try:
        found = measure(options.out)
    except Unbounded as problem:
        print(f"{options.out}: {problem}", file=sys.stderr)
        return 1
    print(f"{'':8}{'bytes':>8}{'at most':>9}")
    print(f"{'flash':8}{found.flash:>8}{FLASH_BAR:>9}")
    print(f"{'RAM':8}{found.ram:>8}{RAM_BAR:>9}")
    print(f"RAM is {found.static} static and {found.stack} of stack at worst:")
    print("  " + " > ".join(found.way))
    rows = measured(found)
    if options.file:
        figures.write(options.file, rows, None, ["edgeguard-monitor"])
    missed = [row.id for row in rows if row.holds is False]
    for name in missed:
        print(f"{name}: above its bar", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
