# SPDX-License-Identifier: Apache-2.0
"""The firmware on a board that is a struct: software in the loop, on whatever clock it is given.

The same C as in the microcontroller; only time, bytes, sensors, actuators and faults are the
caller's. It takes and gives bytes as a serial port does.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from firmware_bridge.keys import Keys
from firmware_bridge.native import CAUSES, MASK32, MODES, ONE, causes_of, ffi, lib
from firmware_bridge.table import values

VALID, INVALID = int(lib.EG_VALID), int(lib.EG_INVALID)
MEMORIES = ("flash", "config", "record", "canary", "ram", "mcu")


class McuTwin:
    """A microcontroller that was just given power."""

    def __init__(
        self,
        mcu: Mapping[str, Any],
        keys: Keys,
        entropy: bytes | None = None,
        now_us: int = 0,
    ) -> None:
        """mcu: what `edgeguard.config.mcu_dict` gives; entropy: 16 bytes, else the system's."""
        self._t = ffi.new("eg_twin_t *")
        config = ffi.new("eg_mcu_config_t *", values(mcu, keys))
        self.period_us = int(mcu["link"]["period_us"])
        lib.eg_twin_init(self._t, config)
        self._t.entropy = secrets.token_bytes(16) if entropy is None else entropy
        self.sense(0.0, 0.0)
        self.power_cycle(now_us)

    # ---------------------------------------------------------- link and time

    def receive(self, data: bytes) -> int:
        """Bytes arrive on its UART. Returns how many fit; the others are lost, as there."""
        return int(lib.eg_twin_receive(self._t, data, len(data)))

    def listen(self, now_us: int) -> None:
        """Between two turns: judge what arrived, now."""
        self._t.now_us = now_us & MASK32
        lib.eg_twin_listen(self._t)

    def step(self, now_us: int) -> bytes:
        """One turn at this time; returns what it sent since the last one."""
        self._t.now_us = now_us & MASK32
        lib.eg_twin_step(self._t)
        return self.sent()

    def sent(self) -> bytes:
        """What it sent and nobody took so far."""
        data = bytes(ffi.buffer(self._t.tx, self._t.tx_used))
        self._t.tx_used = 0
        return data

    # --------------------------------------------------------------- vehicle

    def sense(self, speed: float | None, steering: float | None = None) -> None:
        """What its own sensors say from now on, m/s and rad; None: a sensor that failed."""
        for name, value in (("speed", speed), ("steering", steering)):
            number = getattr(self._t.sensed, name)
            number.validity = INVALID if value is None else VALID
            number.value = 0 if value is None else round(value * ONE)

    @property
    def actuator(self) -> tuple[float, float]:
        """What the actuators were given last: speed target in m/s, steering in rad."""
        return self._t.actuator[0] / ONE, self._t.actuator[1] / ONE

    @property
    def actuator_q16(self) -> tuple[int, int]:
        """The same as integers."""
        return self._t.actuator[0], self._t.actuator[1]

    # ------------------------------------------------------------- what it is

    @property
    def mode(self) -> str:
        """Of its last decision."""
        return str(MODES[self._t.mcu.out.mode])

    @property
    def causes(self) -> tuple[str, ...]:
        """That act, of its last decision."""
        return causes_of(self._t.mcu.out.causes)

    @property
    def armed(self) -> bool:
        """Whether a session is open."""
        return bool(self._t.mcu.heard.link.in_session)

    @property
    def failed(self) -> int:
        """Its own checks that failed since the reset: EG_FAIL_*."""
        return int(self._t.mcu.kept.failed)

    @property
    def strokes(self) -> int:
        """How often it stroked its hardware watchdog."""
        return int(self._t.strokes)

    @property
    def actuations(self) -> int:
        """How often it wrote its outputs."""
        return int(self._t.actuations)

    @property
    def turns(self) -> int:
        """Since it was made, over all resets."""
        return int(self._t.turns)

    @property
    def resets(self) -> int:
        """That its hardware watchdog made."""
        return int(self._t.resets)

    @property
    def reset_reason(self) -> int:
        """eg_reset_t of the last one."""
        return int(self._t.record.reason)

    @property
    def counts(self) -> dict[str, int]:
        """Every frame that came in, counted once, under what was made of it."""
        found = self._t.mcu.heard.link.counts
        return {name: getattr(found, name) for name, _ in ffi.typeof("eg_link_counts_t").fields}

    @property
    def answers(self) -> dict[str, int]:
        """What came of its watchdog's questions."""
        w = self._t.mcu.heard.watchdog
        return {name: getattr(w, name) for name in ("answered", "early", "late", "mistaken")}

    # ---------------------------------------------------------------- faults

    def reset(self) -> None:
        """Pull its reset line; what lies in .noinit survives."""
        lib.eg_twin_boot(self._t)

    def power_cycle(self, now_us: int | None = None) -> None:
        """Nothing survives; where a time is given, its clock shows that."""
        if now_us is not None:
            self._t.now_us = now_us & MASK32
        ffi.memmove(self._t.saved, bytes(ffi.sizeof(self._t.saved)), ffi.sizeof(self._t.saved))
        lib.eg_twin_boot(self._t)

    def memory(self, name: str) -> Any:
        """One of MEMORIES as a writable buffer, for faults: `flip` for one bit."""
        t = self._t
        part = t.flash.config if name == "config" else getattr(t, name)
        return ffi.buffer(ffi.addressof(part) if name not in ("ram", "canary") else part)

    def flip(self, name: str, bit: int) -> None:
        """A particle hits one of MEMORIES."""
        memory = self.memory(name)
        byte = ord(memory[bit // 8]) ^ 1 << bit % 8
        memory[bit // 8] = bytes([byte])

    def seal(self) -> None:
        """After a change to flash that was meant: new checksums, as the build makes them."""
        lib.eg_twin_seal(self._t)

    def slow(self, call_us: int) -> None:
        """A processor that takes so long between two looks at its clock."""
        self._t.call_us = call_us

    def block_transmitter(self, full: bool) -> None:
        """Its UART takes nothing any more, or takes it again."""
        self._t.tx_full = full

    def stick(self, output: int, bits: int) -> None:
        """The register of an actuator reads back with these bits turned over."""
        self._t.stuck[output] = bits

    @property
    def raw(self) -> Any:
        """The C struct (eg_twin_t *)."""
        return self._t


__all__ = ["CAUSES", "MEMORIES", "McuTwin"]
