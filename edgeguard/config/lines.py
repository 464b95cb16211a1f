# SPDX-License-Identifier: Apache-2.0
"""On which line of a TOML file each key stands; the standard parser does not say."""

from __future__ import annotations

import re
from bisect import bisect_right
from contextlib import suppress

KeyPath = tuple["str | int", ...]

_BARE_VALUE = re.compile(r"[^,\]}\n#]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS = {
    '"""': re.compile(r'"""(?:[^\\]|\\.)*?"""("{0,2})', re.S),
    "'''": re.compile(r"'''.*?'''('{0,2})", re.S),
    '"': re.compile(r'"((?:[^"\\\n]|\\.)*)"'),
    "'": re.compile(r"'([^'\n]*)'"),
}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.S)
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


def show(path: KeyPath) -> str:
    """Write a key path as TOML would: `channel.speed.means."limit 20"`, `table[1].rise`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        plain = _BARE_KEY.fullmatch(part) is not None
        escaped = part.encode("unicode_escape").decode("ascii").replace('"', '\\"')
        text += ("." if text else "") + (part if plain else f'"{escaped}"')
    return text


class Lines:
    """Lines (from 1) of every table, key and array element of a valid TOML text."""

    def __init__(self, text: str) -> None:
        self._at: dict[KeyPath, int] = {(): 1}
        scan = _Scan(text.replace("\r\n", "\n"), self._at)
        with suppress(IndexError, ValueError, RecursionError):  # below: the table's line stands
            scan.document()

    def of(self, path: KeyPath) -> int:
        """The key's own line, or that of the nearest table around it."""
        while path not in self._at:
            path = path[:-1]
        return self._at[path]


class _Scan:
    """One pass over text that the TOML parser has already accepted."""

    def __init__(self, text: str, at: dict[KeyPath, int]) -> None:
        self.text, self.pos, self.at = text, 0, at
        self.starts = [0] + [m.end() for m in re.finditer("\n", text)]
        self.count: dict[KeyPath, int] = {}  # elements of each array of tables so far

    def document(self) -> None:
        table: KeyPath = ()
        self.blank()
        while self.pos < len(self.text):
            if self.text[self.pos] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.blank()

    def take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self.text, self.pos)
        if match is None:
            raise ValueError(f"unexpected text at {self.pos}")
        self.pos = match.end()
        return match

    def blank(self) -> None:
        self.take(_BLANK)

    def mark(self, path: KeyPath, pos: int) -> None:
        self.at.setdefault(path, bisect_right(self.starts, pos))

    def header(self) -> KeyPath:
        start = self.pos
        many = self.text.startswith("[[", start)
        self.pos += 2 if many else 1
        parts = self.key()
        self.pos = self.text.index("]", self.pos) + (2 if many else 1)
        path: KeyPath = ()
        for i, part in enumerate(parts):
            path += (part,)
            self.mark(path, start)
            if many and i == len(parts) - 1:
                self.count[path] = self.count.get(path, 0) + 1
            if path in self.count:
                path += (self.count[path] - 1,)
                self.mark(path, start)
        return path

    def key(self) -> list[str]:
        parts = []
        while True:
            self.blank()
            quoted = self.text[self.pos] in "\"'"
            parts.append(self.string() if quoted else self.take(_BARE_KEY).group())
            self.blank()
            if self.text[self.pos] != ".":
                return parts
            self.pos += 1

    def string(self) -> str:
        quote = self.text[self.pos : self.pos + 3]
        body = self.take(_STRINGS[quote if quote in _STRINGS else quote[0]]).group(1)
        return body if quote[0] == "'" else _ESCAPE.sub(_unescape, body)

    def pair(self, table: KeyPath) -> None:
        start = self.pos
        path = table
        for part in self.key():
            path += (part,)
            self.mark(path, start)
        self.pos += 1  # the equals sign
        self.blank()
        self.value(path)

    def value(self, path: KeyPath) -> None:
        first = self.text[self.pos]
        if first in "\"'":
            self.string()
        elif first == "[":
            self.items(path)
        elif first == "{":
            self.inline(path)
        else:
            self.take(_BARE_VALUE)

    def items(self, path: KeyPath) -> None:
        index = 0
        self.pos += 1
        self.blank()
        while self.text[self.pos] != "]":
            self.mark((*path, index), self.pos)
            self.value((*path, index))
            index += 1
            self.separator()
        self.pos += 1

    def inline(self, path: KeyPath) -> None:
        self.pos += 1
        self.blank()
        while self.text[self.pos] != "}":
            self.pair(path)
            self.separator()
        self.pos += 1

    def separator(self) -> None:
        self.blank()
        if self.text[self.pos] == ",":
            self.pos += 1
            self.blank()


def _unescape(match: re.Match[str]) -> str:
    body = match.group(1)
    if body[0] in "uU" and len(body) > 1:
        return chr(int(body[1:], 16))
    return _ESCAPES.get(body, body)
