# SPDX-License-Identifier: Apache-2.0
"""From a parsed TOML table to one of the classes of `schema`, with every problem of it at once."""

from __future__ import annotations

import datetime
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from edgeguard.config.fixed import q16_ceil, q16_floor
from edgeguard.config.lines import KeyPath
from edgeguard.config.schema import Bounds, Fallback, Grant, OneOf, Range
from edgeguard.config.vocabulary import OPERATIONS

T = TypeVar("T")
Problem = tuple[KeyPath, str]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,31}")
_CALLABLE = re.compile(r"[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?")


class ShapeError(Exception):
    """What is wrong with a value, by the path below it."""

    def __init__(self, *problems: Problem | str) -> None:
        super().__init__(*problems)
        self.problems: list[Problem] = [((), p) if isinstance(p, str) else p for p in problems]


def structure(raw: object, cls: type[T]) -> T:
    """Build `cls` from a TOML table; raises ShapeError with all problems."""
    try:
        return _converter.structure(raw, cls)
    except (ClassValidationError, ShapeError) as error:
        raise ShapeError(*_flatten(error, ())) from None


def _flatten(error: BaseException, at: KeyPath) -> Iterator[Problem]:
    if isinstance(error, ShapeError):
        yield from (((*at, *path), text) for path, text in error.problems)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [_key(f.name) for f in attrs.fields(error.cl)]
        for extra in sorted(error.extra_fields):
            yield (*at, extra), "unknown key; " + (meant(extra, known) or one_of(known))
    elif isinstance(error, ClassValidationError):
        below, here = error.group_exceptions()
        for inner, note in below:
            path = (*at, _key(note.name))
            if isinstance(inner, KeyError):
                yield path, _missing(error.cl, note.name)
            else:
                yield from _flatten(inner, path)
        for other in here:
            yield from _flatten(other, at)
    else:
        yield at, str(error)


def _key(attribute: str) -> str:
    return attribute.rstrip("_")


def _missing(cls: type, attribute: str) -> str:
    why = attrs.fields_dict(cls)[attribute].metadata.get("why")
    return f"missing; {why}" if why else "missing; it has no default"


def meant(word: str, known: Iterable[str]) -> str:
    """'did you mean "fall"?', or nothing when no known word is near."""
    near = get_close_matches(word, list(known), n=1)
    return f'did you mean "{near[0]}"?' if near else ""


def one_of(known: Iterable[str]) -> str:
    """'known: "a", "b"', for a person to choose from."""
    return "known: " + ", ".join(known)


def describe(value: object) -> str:
    """A value of a TOML file, as a person would call it."""
    if isinstance(value, str):
        return f'the text "{value[:40]}"'
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, int) and abs(value) >= 2**53:
        return "a number too large to hold"
    kinds = {dict: "a table", datetime.date: "a date", datetime.time: "a time"}
    plain = repr(value).lower() if isinstance(value, bool) else repr(value)
    return next((word for kind, word in kinds.items() if isinstance(value, kind)), plain)


def number(value: object, bounds: Bounds) -> float:
    """A finite float within bounds; -0.0 and denormals become 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ShapeError(f"is {describe(value)}; must be a number")
    try:
        finite = float(value)
    except OverflowError:
        raise ShapeError(f"is {describe(value)}; must be at most {bounds.high:g}") from None
    if not math.isfinite(finite):
        raise ShapeError(f"is {finite}; must be a finite number")
    finite = finite if abs(finite) >= sys.float_info.min else 0.0
    problem = bounds.problem(finite)
    if problem:
        raise ShapeError(problem)
    return finite


def whole(value: object, bounds: Bounds) -> int:
    """An int within bounds; 3.0 is refused, since nobody counts with a decimal point."""
    if isinstance(value, float) and value == 0.0:
        value = 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise ShapeError(f"is {describe(value)}; must be a whole number")
    return int(number(value, bounds))


def text(value: object) -> str:
    """A text of at least one printable character."""
    if not isinstance(value, str):
        raise ShapeError(f"is {describe(value)}; must be a text in quotes")
    if not value.strip() or not value.isprintable():
        raise ShapeError("is empty or not printable; must be a text")
    return value


def name_problem(name: str) -> str | None:
    """Names of tables travel into logs and firmware: short and plain."""
    if _NAME.fullmatch(name):
        return None
    return "is no name; use up to 32 letters, digits, - and _, starting with a letter"


def _annotated(kind: Any) -> Callable[[object, Any], object]:
    base, rule = get_args(kind)[:2]

    def hook(value: object, _: Any) -> object:
        if isinstance(rule, OneOf):
            word = text(value)
            if word not in rule.words:
                raise ShapeError(f'is "{word}"; ' + (meant(word, rule.words) or one_of(rule.words)))
            return word
        return number(value, rule) if base is float else whole(value, rule)

    return hook


def _union(kind: Any) -> Callable[[object, Any], object]:
    args = [a for a in get_args(kind) if a is not type(None)]
    words = tuple(w for a in args if get_origin(a) is Literal for w in get_args(a))
    other = next(a for a in args if get_origin(a) is not Literal)

    def hook(value: object, _: Any) -> object:
        if words and isinstance(value, str):
            if value in words:
                return value
            raise ShapeError(f'is {describe(value)}; must be a number or "{words[0]}"')
        return _converter.structure(value, other)

    return hook


def _each(items: list[tuple[str | int, object]], kind: Any) -> list[Any]:
    """Structure every item and collect the problems of all of them."""
    done: list[Any] = []
    problems: list[Problem] = []
    for index, item in items:
        try:
            done.append(_converter.structure(item, kind))
        except (ClassValidationError, ShapeError) as error:
            problems.extend(_flatten(error, (index,)))
    if problems:
        raise ShapeError(*problems)
    return done


def _tuple(value: object, kind: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ShapeError(f"is {describe(value)}; must be a list")
    return tuple(_each(list(enumerate(value)), get_args(kind)[0]))


def _dict(value: object, kind: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ShapeError(f"is {describe(value)}; must be a table")
    return dict(zip(value, _each(list(value.items()), get_args(kind)[1]), strict=True))


def _range(value: object, _: Any) -> Range:
    if not isinstance(value, list) or len(value) != 2:
        raise ShapeError(f"is {describe(value)}; must be [low, high]")
    low, high = _each(list(enumerate(value)), Annotated[float, Bounds()])
    if not low < high:
        raise ShapeError(f"is [{low:g}, {high:g}]; the low end must be below the high end")
    if q16_ceil(low) >= q16_floor(high):
        raise ShapeError(f"is [{low!r}, {high!r}]; narrower than the smallest step (1/65536)")
    return Range(low, high)


def _grant(value: object, _: Any) -> Grant:
    if isinstance(value, list):
        names = _each(list(enumerate(value)), str)
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ShapeError(f'names "{twice[0]}" twice; once is enough')
        grants: dict[str, tuple[str, ...]] = {n: OPERATIONS for n in names}
    elif isinstance(value, str):
        raise ShapeError(f'is {describe(value)}; must be a list: ["{value[:40]}"]')
    else:
        grants = _dict(value, dict[str, tuple[Annotated[str, OneOf(OPERATIONS)], ...]])
    if not grants or not all(grants.values()):
        raise ShapeError("grants nothing; name a channel, or remove the member")
    return Grant(grants)


def _fallback(value: object, _: Any) -> Fallback:
    table = {"controller": value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        raise ShapeError(f"is {describe(value)}; must name a controller")
    if "controller" not in table:
        raise ShapeError((("controller",), "missing; name the rule-based controller"))
    problems: list[Problem] = []
    for key, item in table.items():
        try:
            if isinstance(item, bool):
                continue
            _ = text(item) if isinstance(item, str) else number(item, Bounds())
        except ShapeError as wrong:
            problems.extend(((key, *path), problem) for path, problem in wrong.problems)
    if problems:
        raise ShapeError(*problems)
    name = table["controller"]
    if not isinstance(name, str) or not _CALLABLE.fullmatch(name):
        raise ShapeError(f'is {describe(name)}; must be a controller\'s name or "module:attribute"')
    parameters = {k: _zero(v) for k, v in table.items() if k != "controller"}
    return Fallback(name, parameters)


def _zero(value: object) -> object:
    """-0.0 and denormals as 0, everything else as it is."""
    return number(value, Bounds()) if isinstance(value, float) else value


def _class(cls: type[T]) -> Callable[[object, Any], T]:
    names = {
        f.name: override(rename=_key(f.name))
        for f in attrs.fields(cls)  # type: ignore[arg-type]
        if f.name != _key(f.name)
    }
    attrs.resolve_types(cls)  # type: ignore[type-var]
    build = make_dict_structure_fn(
        cls,
        _converter,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=True,
        **names,  # type: ignore[arg-type]
    )

    def hook(value: object, kind: Any) -> T:
        if not isinstance(value, dict):
            raise ShapeError(f"is {describe(value)}; must be a table")
        return build(value, kind)

    return hook


def _origin(kind: Any) -> Any:
    return get_origin(kind)


def _boolean(value: object, _: Any) -> bool:
    if not isinstance(value, bool):
        raise ShapeError(f"is {describe(value)}; must be true or false")
    return value


_converter = Converter(detailed_validation=True, forbid_extra_keys=True)
_converter.register_structure_hook(str, lambda value, _: text(value))
_converter.register_structure_hook(bool, _boolean)
_converter.register_structure_hook_func(lambda t: _origin(t) is tuple, _tuple)
_converter.register_structure_hook_func(lambda t: _origin(t) is dict, _dict)
_converter.register_structure_hook_factory(lambda t: _origin(t) is Annotated, _annotated)
_converter.register_structure_hook_factory(lambda t: _origin(t) in (Union, UnionType), _union)
_converter.register_structure_hook_factory(attrs.has, _class)
_converter.register_structure_hook(Range, _range)
_converter.register_structure_hook(Grant, _grant)
_converter.register_structure_hook(Fallback, _fallback)
