# SPDX-License-Identifier: Apache-2.0
"""Errors that edgeguard raises for its users; the command line prints them without traceback."""

from __future__ import annotations


class EdgeguardError(Exception):
    """Base of every error that edgeguard raises on purpose; its text is meant for a person."""


class ConfigError(EdgeguardError):
    """A file that the user wrote is wrong: ``FILE:LINE: key.path: what is wrong; what to do``."""


class ModelRefused(EdgeguardError):
    """A model may not be used: ``FILE: reason; what to do``; its guard does not arm."""


class BundleRefused(ConfigError):
    """A bundle may not be used: ``FILE: part: reason``; its guard does not arm."""


class InferenceError(EdgeguardError):
    """The runtime failed on a model that had passed its self-test; the member abstains."""


def in_words(error: BaseException) -> str:
    """Kind and text of an error of somebody else's code, whose own text may raise again."""
    kind = "error"
    try:
        kind = f"{type(error).__name__}"
        return f"{kind}: {error}"
    except KeyboardInterrupt:
        raise
    except BaseException:
        return f"{kind}: no message"
