# SPDX-License-Identifier: Apache-2.0
"""Whatever a runtime raises over a file becomes one sentence that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgeguard.errors import ModelRefused


@contextmanager
def refusing(where: str) -> Iterator[None]:
    """Turn every exception but ModelRefused into ModelRefused, naming ``where``."""
    try:
        yield
    except ModelRefused:
        raise
    except Exception as error:
        raise ModelRefused(f"{where}: the runtime refuses it: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """The first line of an exception's text, at most 300 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
