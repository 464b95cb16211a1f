# SPDX-License-Identifier: Apache-2.0
"""Write the C source of `firmware_bridge._bridge` from the headers; the build runs this.

    python make_bridge.py OUT.c HEADER ...

cffi wants declarations without preprocessor. They are taken from the headers themselves, in the
order given, so that there is no copy that could differ; the compiler checks them once more.
"""

from __future__ import annotations

import ast
import operator
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.LShift: operator.lshift,
    ast.BitOr: operator.or_,
}
_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_BOARD = re.compile(r"\w.*\bboard_\w+\(.*\);")  # for the firmware to call; a twin lacks some
_DEFINE = re.compile(r"#define\s+(\w+)\s+(.+)")
_SUFFIX = re.compile(r"\b(0[xX][0-9a-fA-F]+|\d+)[uUlL]+\b")


def declarations(headers: list[Path], defined: set[str]) -> str:
    """What the headers declare, as `ffi.cdef` reads it."""
    numbers: dict[str, int] = {}
    parts = []
    for header in headers:
        for line in _chosen(_COMMENT.sub("", header.read_text(encoding="utf-8")), defined):
            define = _DEFINE.match(line)
            value = _number(define[2], numbers) if define else None
            if _BOARD.match(line):
                continue
            if not line.startswith("#"):
                parts.append(_plain(line, numbers))
            elif define and value is not None:
                numbers[define[1]] = value
                parts.append(f"#define {define[1]} {value}")
    return "\n".join(part for part in parts if part.strip())


def _chosen(text: str, defined: set[str]) -> Iterator[str]:
    """The lines that the preprocessor would keep; #define among them, #include not."""
    kept = [True]
    for line in text.splitlines():
        words = line.split()
        if line.startswith(("#ifdef", "#ifndef")):
            kept.append((words[1] in defined) == (words[0] == "#ifdef"))
        elif line.startswith("#if"):
            raise SystemExit(f"make_bridge.py: only #ifdef and #ifndef are understood: {line}")
        elif line.startswith("#else"):
            kept[-1] = not kept[-1]
        elif line.startswith("#endif"):
            kept.pop()
        elif all(kept) and not line.startswith("#include"):
            yield line


def _number(text: str, numbers: dict[str, int]) -> int | None:
    """The value of a constant expression; None for what is none."""
    try:
        return _value(ast.parse(_SUFFIX.sub(r"\1", text.strip()), mode="eval").body, numbers)
    except (SyntaxError, KeyError, ValueError):
        return None


def _value(node: ast.expr, numbers: dict[str, int]) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name):
        return numbers[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, numbers)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return int(
            _OPERATORS[type(node.op)](_value(node.left, numbers), _value(node.right, numbers))
        )
    raise ValueError("not a constant")


def _plain(line: str, numbers: dict[str, int]) -> str:
    """A line of C with array lengths as numbers."""

    def length(match: re.Match[str]) -> str:
        value = _number(match[1], numbers)
        return match[0] if value is None else f"[{value}]"

    return _SUFFIX.sub(r"\1", re.sub(r"\[([^\[\]]+)\]", length, line))


def main(out: str, *headers: str) -> None:
    """Write the module's source, if it changed."""
    from cffi import FFI

    ffi = FFI()
    ffi.cdef(declarations([Path(h) for h in headers], {"EG_SMALL"}))
    source = "".join(f'#include "{Path(h).resolve()}"\n' for h in headers)
    ffi.set_source("firmware_bridge._bridge", source)
    ffi.emit_c_code(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
