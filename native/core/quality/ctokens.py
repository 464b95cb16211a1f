# SPDX-License-Identifier: Apache-2.0
"""A tokenizer for the C99 of this repository, and as much of its grammar as mutation needs: where
functions, statements and operands begin and end. No preprocessing: positions are those of the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TOKEN = re.compile(
    r"""(?P<skip>\s+|\\\n|/\*.*?\*/|//[^\n]*)
      |(?P<directive>^[ \t]*\#(?:\\\n|[^\n])*)
      |(?P<name>[A-Za-z_]\w*)
      |(?P<number>0[xX][0-9A-Fa-f]+[uUlL]*|\d+[uUlL]*)
      |(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
      |(?P<mark><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[-+*/%&|^~!<>=?:;,.(){}\[\]])
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
DEFINE = re.compile(r"[ \t]*#[ \t]*define[ \t]+(?P<name>\w+)(?P<parameters>\([^)]*\))?")

# Binary operators by precedence, from what binds the least.
BINDS = {",": 0, "?": 2, ":": 2, "||": 3, "&&": 4, "|": 5, "^": 6, "&": 7, "==": 8, "!=": 8}
BINDS |= dict.fromkeys(("<", "<=", ">", ">="), 9) | dict.fromkeys(("<<", ">>"), 10)
BINDS |= dict.fromkeys(("+", "-"), 11) | dict.fromkeys(("*", "/", "%"), 12)
ASSIGNS = {"=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="}
BINDS |= dict.fromkeys(ASSIGNS, 1)

TYPES = {"void", "char", "short", "int", "long", "unsigned", "signed", "bool", "size_t"}
DECLARES = TYPES | {"const", "static", "struct", "union", "enum", "inline", "volatile"}
CONTROLS = {"if", "while", "for", "switch"}
WORDS = CONTROLS | {
    "else",
    "do",
    "return",
    "break",
    "continue",
    "case",
    "default",
    "goto",
    "sizeof",
}
PAIRS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Token:
    """One token; `at` is where it begins in the file."""

    kind: str
    text: str
    at: int

    @property
    def end(self) -> int:
        """Position after it."""
        return self.at + len(self.text)


def is_type(text: str) -> bool:
    """Whether a name is that of a type; ours and the standard's end in _t."""
    return text in DECLARES or text.endswith("_t")


def tokenize(source: str, start: int = 0) -> list[Token]:
    """All tokens but comments and blanks. Raises ValueError at what is no token."""
    tokens, at = [], start
    while at < len(source):
        match = TOKEN.match(source, at)
        if not match:
            raise ValueError(f"no C token at {at}: {source[at : at + 20]!r}")
        if match.lastgroup != "skip":
            tokens.append(Token(str(match.lastgroup), match.group(), at))
        at = match.end()
    return tokens


class Code:
    """The tokens of a file with its brackets matched."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = [t for t in tokenize(source) if t.kind != "directive"]
        self.partner = self._match()

    def _match(self) -> dict[int, int]:
        partner, open_at = {}, []
        for i, token in enumerate(self.tokens):
            if token.text in PAIRS:
                open_at.append(i)
            elif token.text in PAIRS.values():
                j = open_at.pop()
                if PAIRS[self.tokens[j].text] != token.text:
                    raise ValueError(f"bracket at {token.at} does not match")
                partner[i], partner[j] = j, i
        if open_at:
            raise ValueError(f"bracket at {self.tokens[open_at[-1]].at} is not closed")
        return partner

    def text(self, i: int) -> str:
        """Text of token i; '' outside."""
        return self.tokens[i].text if 0 <= i < len(self.tokens) else ""

    def slice(self, first: int, last: int) -> str:
        """Source from token `first` to token `last`, both included."""
        return self.source[self.tokens[first].at : self.tokens[last].end]

    def is_cast(self, close: int) -> bool:
        """Whether the bracket that closes here is a cast."""
        first = self.partner[close]
        if self.text(close) != ")" or self.text(first - 1) == "sizeof":
            return False
        inside = [self.text(i) for i in range(first + 1, close)]
        called = self.tokens[first - 1].kind == "name" and self.text(first - 1) not in WORDS
        return bool(inside) and not called and all(is_type(t) or t == "*" for t in inside)

    def ends_operand(self, i: int) -> bool:
        """Whether token i can end an operand, so that an operator after it is binary."""
        token = self.tokens[i]
        if token.kind == "name":
            return token.text not in WORDS and not is_type(token.text)
        if token.kind in ("number", "text") or token.text == "]":
            return True
        if token.text in ("++", "--"):
            return self.ends_operand(i - 1)
        control = token.text == ")" and self.text(self.partner[i] - 1) in CONTROLS
        return token.text == ")" and not control and not self.is_cast(i)

    def is_binary(self, i: int) -> bool:
        """Whether the operator at i has an operand on its left."""
        return self.text(i) in BINDS and i > 0 and self.ends_operand(i - 1)

    def left(self, i: int) -> int:
        """First token of the left operand of the binary operator (or question mark) at i."""
        binds, j = BINDS[self.text(i)], i - 1
        while j >= 0:
            text = self.text(j)
            if text in (")", "]") and not (
                text == ")" and self.text(self.partner[j] - 1) in CONTROLS
            ):
                j = self.partner[j] - 1
                continue
            stop = text in PAIRS or text in (";", "{", "}", ")", "return", "else", "case", "do")
            if stop or (self.is_binary(j) and BINDS[text] < binds):
                break
            j -= 1
        return j + 1

    def right(self, i: int, binds: int | None = None) -> int:
        """Last token of the right operand of the binary operator at i."""
        binds = BINDS[self.text(i)] if binds is None else binds
        j = i + 1
        while j < len(self.tokens):
            text = self.text(j)
            if text in PAIRS:
                j = self.partner[j] + 1
                continue
            stop = text in (";", ")", "]", "}")
            if stop or (self.is_binary(j) and BINDS[text] <= binds):
                break
            j += 1
        return j - 1


@dataclass(frozen=True)
class Function:
    """A function: tokens from its return type to its closing brace."""

    name: str
    returns: tuple[str, ...]
    first: int
    parameters: int  # its opening bracket
    body: int  # its opening brace
    last: int


def functions(code: Code) -> list[Function]:
    """Every function of a file, in order."""
    found, i, first = [], 0, 0
    while i < len(code.tokens):
        text = code.text(i)
        if text == "{" and code.text(i - 1) == ")":
            bracket = code.partner[i - 1]
            returns = tuple(code.text(k) for k in range(first, bracket - 1))
            last = code.partner[i]
            found.append(Function(code.text(bracket - 1), returns, first, bracket, i, last))
            i, first = last + 1, last + 1
            continue
        if text in PAIRS:
            i = code.partner[i]
        if code.text(i) == ";":
            first = i + 1
        i += 1
    return found


def statement_end(code: Code, i: int) -> int:
    """Last token of the statement that begins at i."""
    text = code.text(i)
    if text == "{":
        return code.partner[i]
    if text in CONTROLS:
        end = statement_end(code, code.partner[i + 1] + 1)
        if text == "if" and code.text(end + 1) == "else":
            end = statement_end(code, end + 2)
        return end
    if text == "do":
        end = statement_end(code, i + 1)
        return code.partner[end + 2] + 1
    while code.text(i) != ";":
        i = code.partner.get(i, i) if code.text(i) in PAIRS else i
        i += 1
    return i


def statements(code: Code, function: Function) -> list[tuple[int, int]]:
    """Every statement in a function's body, also nested ones, as (first, last)."""
    found: list[tuple[int, int]] = []

    def block(i: int, last: int) -> None:
        while i < last:
            if code.text(i) in ("case", "default"):
                while code.text(i) != ":":
                    i += 1
                i += 1
                continue
            end = one(i)
            i = end + 1

    def one(i: int) -> int:
        end = statement_end(code, i)
        if code.text(i) == "{":
            block(i + 1, end)
            return end
        found.append((i, end))
        if code.text(i) in CONTROLS:
            inner = one(code.partner[i + 1] + 1)
            if code.text(i) == "if" and code.text(inner + 1) == "else":
                one(inner + 2)
        elif code.text(i) == "do":
            one(i + 1)
        return end

    block(function.body + 1, function.last)
    return found
