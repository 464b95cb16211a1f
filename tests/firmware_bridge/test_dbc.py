# SPDX-License-Identifier: Apache-2.0
"""The shipped DBC file says where in a frame every field is: real frames, decoded by cantools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cantools
import pytest

import firmware_bridge
from firmware_bridge.links import CAN_ID, padded
from firmware_bridge.native import MESSAGES, ONE, ffi, lib
from tests.firmware_bridge.rig import KEYS

DBC: Any = cantools.database.load_file(Path(firmware_bridge.__file__).with_name("link.dbc"))
# name in the struct, where it differs from that in the file
RENAMED = {
    "stamp": "stamp_us", "round_trip": "round_trip_us", "command_age": "command_age_us",
    "open": "open_us", "close": "close_us", "table": "policy",
}  # fmt: skip


def frame_of(kind: int, seed: int) -> tuple[Any, bytes]:
    """A message whose every field differs, and its authenticated frame."""
    link = ffi.new("eg_link_t *")
    config = {"mcu": 0, "authenticated": 1, "key": KEYS.link, "period_us": 10000}
    lib.eg_link_init(link, ffi.new("eg_link_config_t *", config))
    message = ffi.new("eg_message_t *")
    message.type = kind
    size = lib.eg_message_size(kind)
    payload = bytes([1]) * size
    for at in range(size):  # bytes that all differ, but for those of enumerations
        other = payload[:at] + bytes([(seed + 37 * at) % 251 + 2]) + payload[at + 1 :]
        payload = other if lib.eg_message_unpack(other, size, message) else payload
    assert lib.eg_message_unpack(payload, size, message)
    out = ffi.new("uint8_t[64]")
    return message, bytes(ffi.buffer(out, lib.eg_link_frame(link, message, out)))


def expected(message: Any, kind: str, name: str) -> Any:
    """The field of the struct that a signal of the file stands for."""
    union = "log_head" if kind == "LOG_ACK" else kind.lower()
    struct = getattr(getattr(message, "as"), union)
    if name.startswith("output_"):
        return struct.output[name == "output_steering"]
    stem, _, index = name.rpartition("_")
    if not index.isdigit():
        value = getattr(struct, RENAMED.get(name, name))
        is_bytes = not isinstance(value, int)
        return int.from_bytes(bytes(value), "little") if is_bytes else value
    array = getattr(struct, RENAMED.get(stem, stem))
    at = int(index)
    if stem in ("table", "hash"):
        return int.from_bytes(bytes(array)[8 * at : 8 * at + 8], "little")
    return array[at]


@pytest.mark.parametrize("kind", range(len(MESSAGES)), ids=list(MESSAGES))
@pytest.mark.parametrize("seed", [0, 11])
def test_every_field_of_every_message(kind: int, seed: int) -> None:
    name = MESSAGES[kind]
    message, frame = frame_of(kind, seed)
    known = DBC.get_message_by_frame_id(CAN_ID + kind)
    assert known.name == name
    assert known.is_fd
    assert known.length == len(padded(frame))
    found = known.decode(padded(frame), decode_choices=False)
    assert found.pop("e2e_length") == len(frame) - 8
    assert found.pop("e2e_counter") == 0
    assert found.pop("e2e_data_id") == lib.eg_message_data_id(kind)
    assert found.pop("e2e_crc") == int.from_bytes(frame[8:12], "big")
    assert found.pop("session_word") == int.from_bytes(frame[12:16], "little")
    assert found.pop("tag") == int.from_bytes(frame[-8:], "little")
    for signal, value in found.items():
        scale = ONE if known.get_signal_by_name(signal).scale != 1 else 1
        assert value * scale == expected(message, name, signal), signal
    assert sum(s.length for s in known.signals) == 8 * len(frame)  # and nothing is left out


def test_words() -> None:
    modes = DBC.get_message_by_name("STATE").get_signal_by_name("mode").choices
    assert [str(modes[i]) for i in range(4)] == ["NOMINAL", "DEGRADED", "FALLBACK", "SAFE_STOP"]
    results = DBC.get_message_by_name("ARMED").get_signal_by_name("result").choices
    elements = ffi.typeof("eg_arm_result_t").elements
    assert {i: f"EG_ARM_{word}" for i, word in results.items()} == {
        i: word for i, word in elements.items() if word != "EG_ARM_RESULTS"
    }
    reasons = DBC.get_message_by_name("BOOT").get_signal_by_name("reason").choices
    elements = ffi.typeof("eg_reset_t").elements
    assert {i: f"EG_RESET_{word}" for i, word in reasons.items()} == {
        i: word for i, word in elements.items() if word != "EG_RESETS"
    }
