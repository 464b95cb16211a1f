# SPDX-License-Identifier: Apache-2.0
"""Collects what is wrong with a file, so that a person fixes it in one go."""

from __future__ import annotations

from edgeguard.config.lines import KeyPath, Lines, show
from edgeguard.config.structure import ShapeError
from edgeguard.errors import ConfigError


class Report:
    """Problems of one file, each with its line and key path."""

    def __init__(self, file: str, lines: Lines) -> None:
        self.file = file
        self.lines = lines
        self._paths: set[KeyPath] = set()
        self._found: set[tuple[str, int, str]] = set()

    def add(self, path: KeyPath, problem: str) -> None:
        """Note a problem: what is wrong; what to do."""
        self._paths.add(path)
        line = self.lines.of(path)
        self._found.add((self.file, line, f"{self.file}:{line}: {show(path)}: {problem}"))

    def add_all(self, path: KeyPath, wrong: ShapeError) -> None:
        """Note the problems of a table that could not be structured."""
        for below, problem in wrong.problems:
            self.add((*path, *below), problem)

    def about(self, path: KeyPath) -> bool:
        """Whether something is already said about this very key."""
        return path in self._paths

    def merge(self, other: Report) -> None:
        """Take over the problems of a file that this one refers to."""
        self._found |= other._found

    def __bool__(self) -> bool:
        return bool(self._found)

    def done(self) -> None:
        """Raises ConfigError with one line per problem, if there is any."""
        if self._found:
            raise ConfigError("\n".join(text for *_, text in sorted(self._found)))
