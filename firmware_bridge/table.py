# SPDX-License-Identifier: Apache-2.0
"""The microcontroller's table: its canonical bytes and hash, and the C source for its flash.

`mcu` is everywhere what `edgeguard.config.mcu_dict` gives: integers. The canonical bytes are
little-endian, field by field in the order of `eg_mcu_config_t`, only the rows that are in use,
without padding and without the keys: the same on every machine and compiler. Their SHA-256 tells
two tables apart when host and microcontroller arm.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from firmware_bridge.keys import Keys

MAGIC = b"EGT2"
Mcu = Mapping[str, Any]

_SIZES = ("members", "cameras", "signals", "channels", "detectors")
_OPERATIONS = ("raise", "lower")


def canonical(mcu: Mcu) -> bytes:
    """The table as bytes."""
    policy, link = mcu["policy"], mcu["link"]
    parts = [
        MAGIC,
        struct.pack(
            "<IIIBi",
            policy["period_us"],
            policy["max_gap_us"],
            policy["controller_budget_us"],
            policy["standstill_signal"],
            policy["standstill_below"],
        ),
        struct.pack("<5BH", *(len(policy[name]) for name in _SIZES), len(policy["labels"])),
        *(_cause(row) for row in policy["causes"]),
        *(_member(row) for row in policy["members"]),
        *(struct.pack("<I", row["max_age_us"]) for row in policy["cameras"]),
        *(struct.pack("<ii", row["min"], row["max"]) for row in policy["signals"]),
        *(_channel(row) for row in policy["channels"]),
        struct.pack("<BII", link["authenticated"], link["period_us"], link["max_age_us"]),
        bytes(mcu["host_channel"]),
    ]
    return b"".join(parts)


def table_hash(mcu: Mcu) -> bytes:
    """SHA-256 of the canonical bytes [32]."""
    return hashlib.sha256(canonical(mcu)).digest()


def _cause(row: Mapping[str, int]) -> bytes:
    return struct.pack(
        "<3BII", row["severity"], row["clears"], row["asks_operator"], row["on_us"], row["off_us"]
    )


_MEMBER = (
    "kind", "modes", "may", "deadline_us", "max_age_us", "max_rail", "min_distinct", "sum_min",
    "sum_max",
)  # fmt: skip


def _member(row: Mapping[str, int]) -> bytes:
    return struct.pack("<BBHIIiiii", *(row[name] for name in _MEMBER))


def _channel(row: Mapping[str, Any]) -> bytes:
    head = struct.pack(
        "<4Bii",
        row["kind"], row["measured"], row["table_signal"], row["manoeuvre"],
        row["stop"], row["dispersion"],
    )  # fmt: skip
    demands = b"".join(
        struct.pack("<iBB", row[name]["certainty"], row[name]["quorum"], row[name]["frames"])
        for name in _OPERATIONS
    )
    return head + demands + _rows(row["rows"]) + _rows(row["degraded_rows"])


_ROW = ("at", "min", "max", "rise", "fall")


def _rows(rows: Iterable[Mapping[str, int]]) -> bytes:
    packed = [struct.pack("<5i", *(row[name] for name in _ROW)) for row in rows]
    return bytes([len(packed)]) + b"".join(packed)


# ------------------------------------------------------------------ as C


def values(mcu: Mcu, keys: Keys) -> dict[str, Any]:
    """The fields of `eg_mcu_config_t`, nested as in C: what cffi and the C source initialise."""
    outputs = list(mcu["host_channel"])
    return {
        "policy": _policy_values(mcu["policy"]),
        "policy_hash": table_hash(mcu),
        "link": {"mcu": 1, "key": keys.link, **mcu["link"]},
        "operator_key": keys.operator,
        "host_channel": bytes(outputs + [NO_CHANNEL] * (OUTPUTS - len(outputs))),
    }


OUTPUTS, NO_CHANNEL = 2, 255
_HEAD = ("period_us", "max_gap_us", "controller_budget_us", "standstill_signal", "standstill_below")


def _policy_values(policy: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: policy[name] for name in _HEAD},
        **{name: len(policy[name]) for name in _SIZES},
        "labels": len(policy["labels"]),
        "cause": [dict(row) for row in policy["causes"]],
        "member": [{name: row[name] for name in _MEMBER} for row in policy["members"]],
        "camera": [{"max_age_us": row["max_age_us"]} for row in policy["cameras"]],
        "signal": [{"min": row["min"], "max": row["max"]} for row in policy["signals"]],
        "channel": [_channel_values(row) for row in policy["channels"]],
    }


def _channel_values(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("kind", "measured", "table_signal", "manoeuvre", "stop", "dispersion")
    return {
        **{name: row[name] for name in names},
        "demand": [dict(row[name]) for name in _OPERATIONS],
        "nominal": _table_values(row["rows"]),
        "degraded": _table_values(row["degraded_rows"]),
    }


def _table_values(rows: list[Mapping[str, int]]) -> dict[str, Any]:
    ends = ("min", "max", "rise", "fall")
    return {
        "rows": len(rows),
        "row": [{"at": row["at"], "limits": {name: row[name] for name in ends}} for row in rows],
    }


def c_source(mcu: Mcu, keys: Keys, comment: str = "") -> str:
    """The const table that the firmware is built with, as C99.

    The keys are in it: it is as secret as the key file.
    """
    note = f"/* {comment.replace('*/', '* /')} */\n" if comment else ""
    return (
        "/* SPDX-License-Identifier: Apache-2.0 */\n"
        f"/* Written by `edgeguard mcu policy`; do not edit. */\n{note}"
        '#include "mcu.h"\n\n'
        f"const eg_mcu_config_t eg_mcu_config = {_c(values(mcu, keys))};\n"
    )


def _c(value: Any, depth: int = 0) -> str:
    """A C99 initialiser; what is empty is left out, since it is zero anyway."""
    if isinstance(value, bytes):
        return "{" + ", ".join(f"0x{byte:02x}" for byte in value) + "}"
    if isinstance(value, int):
        return _c_number(value)
    if isinstance(value, dict):
        items = [f".{name} = {_c(item, depth + 1)}" for name, item in value.items() if item != []]
    else:
        items = [_c(item, depth + 1) for item in value]
    line = "{" + ", ".join(items) + "}"
    pad = "  " * depth
    if len(pad) + len(line) <= 90 and "\n" not in line:
        return line
    return "{\n" + "".join(f"{pad}  {item},\n" for item in items) + pad + "}"


def _c_number(value: int) -> str:
    """INT32_MIN is no literal of C: its minus stands outside."""
    if value == -(2**31):
        return "(-2147483647 - 1)"
    return f"{value}u" if value > 2**31 - 1 else str(value)
