# SPDX-License-Identifier: Apache-2.0
"""The C of the link and of the firmware, built for this machine (`_bridge`, by cffi)."""

from __future__ import annotations

from typing import Any

try:
    from firmware_bridge import _bridge  # type: ignore[attr-defined]
except ModuleNotFoundError as error:
    if error.name == "_cffi_backend":  # what the user lacks goes by another name
        error.name = "cffi"
    raise

ffi: Any = _bridge.ffi
lib: Any = _bridge.lib

MASK32 = 0xFFFFFFFF
ONE = 65536  # 1.0 in Q16.16


def words(enumeration: str, prefix: str) -> tuple[str, ...]:
    """The names of a C enumeration in the order of its values, without the prefix."""
    by_value = ffi.typeof(enumeration).elements
    return tuple(by_value[value].removeprefix(prefix) for value in sorted(by_value))


CAUSES = words("eg_cause_t", "EG_")[:-1]
MODES = words("eg_mode_t", "EG_")
MESSAGES = words("eg_message_type_t", "EG_MSG_")[:-1]
ARM_RESULTS = words("eg_arm_result_t", "EG_ARM_")
RESETS = words("eg_reset_t", "EG_RESET_")


def causes_of(mask: int) -> tuple[str, ...]:
    """The names of the causes in a mask."""
    return tuple(name for i, name in enumerate(CAUSES) if mask >> i & 1)


def bit(cause: str) -> int:
    """The bit of a cause by its name."""
    return 1 << CAUSES.index(cause)
