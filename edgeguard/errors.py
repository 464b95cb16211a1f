# SPDX-License-Identifier: Apache-2.0
"""The errors that edgeguard raises for its users; the command line prints them without a traceback."""

from __future__ import annotations


class EdgeguardError(Exception):
    """Base of every error that edgeguard raises on purpose; its text is meant for a person."""


class ConfigError(EdgeguardError):
    """A file that the user wrote is wrong: ``FILE:LINE: key.path: what is wrong; what to do``."""


class ModelRefused(EdgeguardError):
    """A model may not be used: ``FILE: reason; what to do``. The guard that names it does not arm."""


class InferenceError(EdgeguardError):
    """The runtime failed while it ran a model that had passed its self-test; the member abstains."""
