# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeguard.config.lines import KeyPath, Lines, show
from edgeguard.config.toml import parse

TRICKY = '''\
# [not.a.table]
top = 1 # x = 2
"quoted key" = "a # b"
'literal' = 'c:\\d'
many = [
  1, # first
  [2, 3],
  { a = "]", "b c" = 4 },
]
text = """
[also.not] a "table"
x = 1 \\
"""
raw = \'\'\'
y = 2\'\'\'

[a.b]
c.d = { e = 1, f.g = [ { h = 1979-05-27 07:32:00 } ] }
[ a . "b.c" ]
x = -inf
[[t]]
n = 1
[[t]]
n = 2
[t.sub]
z = true
[[t.list]]
q = "\\u00e9"
'''

LINES = {
    ("top",): 2, ("quoted key",): 3, ("literal",): 4, ("many",): 5, ("many", 0): 6, ("many", 1): 7,
    ("many", 1, 1): 7, ("many", 2): 8, ("many", 2, "b c"): 8, ("text",): 10, ("raw",): 14,
    ("a", "b"): 17, ("a", "b", "c", "d"): 18, ("a", "b", "c", "d", "f", "g", 0, "h"): 18,
    ("a", "b.c"): 19, ("a", "b.c", "x"): 20, ("t",): 21, ("t", 0, "n"): 22, ("t", 1): 23,
    ("t", 1, "n"): 24, ("t", 1, "sub"): 25, ("t", 1, "sub", "z"): 26, ("t", 1, "list", 0, "q"): 28,
}  # fmt: skip


@pytest.mark.parametrize(("path", "line"), LINES.items(), ids=str)
def test_every_key_of_a_tricky_file_has_its_line(path: KeyPath, line: int) -> None:
    assert Lines(TRICKY).of(path) == line
    assert Lines(TRICKY.replace("\n", "\r\n")).of(path) == line


def test_a_missing_key_has_the_line_of_its_table() -> None:
    assert Lines(TRICKY).of(("a", "b", "missing")) == 17
    assert Lines(TRICKY).of(("nowhere", "missing")) == 1


def paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from paths(item, (*path, key))


@pytest.mark.parametrize("name", ["guard.toml", "calibration.toml"])
def test_every_key_of_the_example_is_on_the_line_that_is_named(name: str) -> None:
    text = (Path(__file__).with_name("full") / name).read_text()
    for path in paths(parse(text, Path(name))):
        line = text.splitlines()[Lines(text).of(path) - 1]
        key = path[-1] if isinstance(path[-1], str) else ""
        assert key in line, (path, line)


@pytest.mark.parametrize(
    ("path", "text"),
    [(("a", "b c", 1, "d"), 'a."b c"[1].d'), (("x\ny",), '"x\\ny"'), (('"',), '"\\""'), ((), "")],
)
def test_paths_are_shown_on_one_line(path: KeyPath, text: str) -> None:
    assert show(path) == text
