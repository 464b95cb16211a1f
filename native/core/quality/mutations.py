# SPDX-License-Identifier: Apache-2.0
"""Mutants of a C file: each is one small edit, as (from, to, text) with what it stands for.

Operators: arithmetic (other operator, one operand), relational and boundary (the sufficient set of
Just et al. 2012), logical (other operator, one operand, negation dropped), condition (always,
never), constant (+1, -1, 0), statement (deleted; an initial value replaced by 0), return value.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ctokens import (
    ASSIGNS,
    CONTROLS,
    DEFINE,
    TYPES,
    Code,
    Function,
    functions,
    is_type,
    statements,
    tokenize,
)

SWAPS = {"+": "-", "-": "+", "*": "/", "/": "*", "%": "/", "<<": ">>", ">>": "<<"}
SWAPS |= {"&": "|", "|": "&", "^": "|"}
RELATIONS = {
    "<": ("<=", "!="), ">": (">=", "!="), "<=": ("<", "=="), ">=": (">", "=="),
    "==": ("<=", ">="), "!=": ("<", ">"),
}  # fmt: skip
CONSTANT_OF = {"<": "0", ">": "0", "==": "0", "<=": "1", ">=": "1", "!=": "1"}
ASSIGN_SWAPS = {
    "+=": ("-=", "="), "-=": ("+=", "="), "|=": ("=", "&="), "&=": ("=", "|="), "^=": ("=", "|="),
    "<<=": (">>=",), ">>=": ("<<=",), "*=": ("/=", "="), "/=": ("*=", "="), "%=": ("/=", "="),
}  # fmt: skip
NAMED = re.compile(r"[A-Z][A-Z0-9_]+\Z")
NOT_NAMED = {"NULL"}


@dataclass(frozen=True)
class Mutant:
    """One edit: source[first:last] becomes `text`. `where` is a function, or a macro's name."""

    kind: str
    where: str
    first: int
    last: int
    text: str
    line: int
    before: str
    id: str

    def apply(self, source: str) -> str:
        """The mutated file."""
        return source[: self.first] + self.text + source[self.last :]

    def __str__(self) -> str:
        before = " ".join(self.before.split())
        return f"{self.id} line {self.line} {self.where}: {self.kind}: {before!r} -> {self.text!r}"


class _File:
    """Collects the edits of one file; the first of several equal ones counts."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.mutants: list[Mutant] = []
        self.seen: set[tuple[int, int, str]] = set()
        self.anchor = 0  # where the function or macro begins: ids survive edits above it
        self.where = ""
        self.scope = ""

    def enter(self, where: str, first: int, last: int) -> None:
        self.where, self.anchor, self.scope = where, first, self.source[first:last]

    def add(self, kind: str, first: int, last: int, text: str) -> None:
        before = self.source[first:last]
        key = (first, last, text)
        if before == text or before.strip("()") == text or key in self.seen:
            return
        self.seen.add(key)
        named = f"{self.name}|{self.scope}|{first - self.anchor}|{last - first}|{text}"
        digest = hashlib.sha256(named.encode()).hexdigest()[:10]
        line = self.source.count("\n", 0, first) + 1
        self.mutants.append(Mutant(kind, self.where, first, last, text, line, before, digest))


def _number(text: str) -> tuple[int, str]:
    digits = text.rstrip("uUlL")
    return int(digits, 0), text[len(digits) :]


def _constants(out: _File, code: Code, i: int) -> None:
    token = code.tokens[i]
    if token.kind == "number":
        value, suffix = _number(token.text)
        for other in dict.fromkeys((value + 1, value - 1, 0)):
            if other == value or (other < 0 and code.text(i - 1) == "["):
                continue
            text = f"{other}{suffix}" if other >= 0 else f"({other})"
            out.add("constant", token.at, token.end, text)
    elif token.text in ("true", "false"):
        text = "false" if token.text == "true" else "true"
        out.add("constant", token.at, token.end, text)
    elif NAMED.match(token.text) and token.text not in NOT_NAMED and code.text(i + 1) != "(":
        for text in (f"({token.text} + 1)", f"({token.text} - 1)", "0"):
            out.add("constant", token.at, token.end, text)


def _declares_array(code: Code, i: int) -> bool:
    """Whether the bracket at i gives an array its size: `type name[size]`, `*name[size]`."""
    before = i - 1
    while code.text(before) == "]":  # further dimensions
        before = code.partner[before] - 1
    return is_type(code.text(before - 1)) or (
        code.text(before - 1) == "*" and is_type(code.text(before - 2))
    )


def _pieces(code: Code, first: int, last: int) -> Iterator[int]:
    """Tokens of a range, without array sizes and the operands of sizeof."""
    i = first
    while i <= last:
        if code.text(i) == "[" and _declares_array(code, i):
            i = code.partner[i]
        elif code.text(i) == "sizeof":
            i = code.partner[i + 1] if code.text(i + 1) == "(" else i + 2
            while code.text(i + 1) in (".", "->"):
                i += 2
        else:
            yield i
        i += 1


def _binary(out: _File, code: Code, i: int) -> None:
    token, text = code.tokens[i], code.text(i)
    if text in ASSIGN_SWAPS:
        for other in ASSIGN_SWAPS[text]:
            out.add("arithmetic", token.at, token.end, other)
    if text not in SWAPS and text not in RELATIONS and text not in ("&&", "||"):
        return
    first, last = code.left(i), code.right(i)
    start, end = code.tokens[first].at, code.tokens[last].end
    operands = (f"({code.slice(first, i - 1)})", f"({code.slice(i + 1, last)})")
    if text in SWAPS:
        out.add("arithmetic", token.at, token.end, SWAPS[text])
        for operand in operands:
            out.add("arithmetic", start, end, operand)
    elif text in RELATIONS:
        kind = "boundary" if text in ("<", ">", "<=", ">=") else "relational"
        out.add(kind, token.at, token.end, RELATIONS[text][0])
        out.add("relational", token.at, token.end, RELATIONS[text][1])
        out.add("relational", start, end, CONSTANT_OF[text])
    else:
        out.add("logical", token.at, token.end, "||" if text == "&&" else "&&")
        for operand in operands:
            out.add("logical", start, end, operand)


def _ternary(out: _File, code: Code, i: int) -> None:
    colon, depth = i + 1, 0
    while depth or code.text(colon) != ":":
        depth += (code.text(colon) == "?") - (code.text(colon) == ":")
        colon = code.partner[colon] + 1 if code.text(colon) in ("(", "[") else colon + 1
    first, last = code.left(i), code.right(colon, 1)
    start, end = code.tokens[first].at, code.tokens[last].end
    out.add("condition", start, end, f"({code.slice(i + 1, colon - 1)})")
    out.add("condition", start, end, f"({code.slice(colon + 1, last)})")


def _unary(out: _File, code: Code, i: int) -> None:
    token = code.tokens[i]
    if token.text in ("++", "--"):
        out.add("arithmetic", token.at, token.end, "--" if token.text == "++" else "++")
    elif token.text == "!":
        out.add("logical", token.at, token.end, "")
    elif token.text in ("-", "~") and not (token.text == "-" and code.is_binary(i)):
        out.add("arithmetic", token.at, token.end, "")


def _expressions(out: _File, code: Code, first: int, last: int) -> None:
    for i in _pieces(code, first, last):
        _constants(out, code, i)
        _unary(out, code, i)
        if code.is_binary(i):
            _binary(out, code, i)
            if code.text(i) == "?":
                _ternary(out, code, i)


def _condition(out: _File, code: Code, i: int) -> None:
    """The condition of the control statement at i: never, and for an if also always."""
    first, last, word = i + 2, code.partner[i + 1] - 1, code.text(i)
    if word == "switch":
        return
    if word == "for":
        first = _next_at(code, first, ";") + 1
        last = _next_at(code, first, ";") - 1
    if last < first:
        return
    start, end = code.tokens[first].at, code.tokens[last].end
    out.add("condition", start, end, "0")
    if word == "if":
        out.add("condition", start, end, "1")


def _next_at(code: Code, i: int, text: str) -> int:
    while code.text(i) != text:
        i = code.partner[i] if code.text(i) in ("(", "[", "{") else i
        i += 1
    return i


def _return(out: _File, code: Code, function: Function, first: int, last: int) -> None:
    start, end = code.tokens[first + 1].at, code.tokens[last - 1].end
    value = code.source[start:end]
    scalar = [t for t in function.returns if t not in ("static", "inline", "const")]
    if "*" in scalar:
        out.add("return", start, end, "0")
    elif scalar == ["bool"]:
        out.add("return", start, end, f"!({value})")
    elif (scalar and (scalar[-1] in TYPES or re.match(r"u?int\d+_t", scalar[-1]))) or scalar:
        out.add("return", start, end, "0")
        out.add("return", start, end, f"({value}) + 1")


def _initial(out: _File, code: Code, first: int, last: int) -> None:
    """Initial values of scalars."""
    pointer = False
    for i in range(first, last):
        if code.text(i) == "*" and not code.is_binary(i):
            pointer = True
        if code.text(i) in (",",):
            pointer = False
        if code.text(i) == "=" and code.text(i + 1) != "{" and not pointer:
            end = code.right(i, 0)
            out.add("statement", code.tokens[i + 1].at, code.tokens[end].end, "0")


def _statement(out: _File, code: Code, function: Function, first: int, last: int) -> None:
    text = code.text(first)
    if text in CONTROLS:
        _condition(out, code, first)
    elif text == "return" and last > first + 1:
        _return(out, code, function, first, last)
    elif is_type(text):
        _initial(out, code, first, last)
    elif text != "do" and not (text == "(" and code.text(first + 1) == "void"):
        out.add("statement", code.tokens[first].at, code.tokens[last].end, ";")


def _tables(out: _File, code: Code, inside: set[int]) -> None:
    """Constants of tables at file scope: one change each, or AES alone would fill the list."""
    i = 0
    while i < len(code.tokens):
        if i not in inside and code.text(i) == "{" and code.text(i - 1) == "=":
            last = code.partner[i]
            out.enter(code.text(_name_before(code, i)), code.tokens[i].at, code.tokens[last].end)
            for k in range(i, last):
                token = code.tokens[k]
                if token.kind == "number":
                    value, suffix = _number(token.text)
                    out.add("constant", token.at, token.end, f"{value ^ 1}{suffix}")
                elif NAMED.match(token.text) and code.text(k + 1) != "(":
                    out.add("constant", token.at, token.end, f"({token.text} + 1)")
            i = last
        i += 1


def _name_before(code: Code, brace: int) -> int:
    i = brace - 2
    while code.text(i) == "]":
        i = code.partner[i] - 1
    return i


def _macros(out: _File, source: str) -> None:
    """Constants that stand in object-like macros."""
    for token in tokenize(source):
        match = DEFINE.match(token.text) if token.kind == "directive" else None
        if not match or match.group("parameters"):
            continue
        start = token.at + match.end()
        body = source[start : token.end]
        if not body.strip():
            continue
        code = Code(source[:start].translate(_BLANK) + body)
        out.enter(match.group("name"), token.at, token.end)
        _expressions(out, code, 0, len(code.tokens) - 1)


class _Blank(dict[int, int]):
    """Maps every character to a blank, so that positions stay."""

    def __missing__(self, key: int) -> int:
        return ord(" ")


_BLANK = _Blank()


def mutants(name: str, source: str) -> list[Mutant]:
    """All mutants of one file, in the order of its text."""
    out, code, inside = _File(name, source), Code(source), set()
    for function in functions(code):
        inside |= set(range(function.first, function.last + 1))
        out.enter(function.name, code.tokens[function.first].at, code.tokens[function.last].end)
        for first, last in statements(code, function):
            _statement(out, code, function, first, last)
        _expressions(out, code, function.body + 1, function.last - 1)
    _tables(out, code, inside)
    _macros(out, source)
    return sorted(out.mutants, key=lambda m: (m.first, m.last, m.text))


__all__ = ["ASSIGNS", "Mutant", "mutants"]
