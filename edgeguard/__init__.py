# SPDX-License-Identifier: Apache-2.0
"""edgeguard: act on quantized neural networks only while there is evidence to trust them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.decision import CAUSES, Decision, Mode
from edgeguard.errors import ConfigError, EdgeguardError, InferenceError, ModelRefused

if TYPE_CHECKING:
    from edgeguard.guard import Guard

__version__ = "0.1.0"
__all__ = [
    "CAUSES",
    "ConfigError",
    "Decision",
    "EdgeguardError",
    "Guard",
    "InferenceError",
    "Mode",
    "ModelRefused",
]


def __getattr__(name: str) -> Any:
    # Guard brings the configuration's libraries with it: loaded when it is asked for.
    if name == "Guard":
        from edgeguard.guard import Guard

        return Guard
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
