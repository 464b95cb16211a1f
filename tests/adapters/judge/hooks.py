# SPDX-License-Identifier: Apache-2.0
"""The safety headers of the installed package `opendbc`, compiled into a library."""

from __future__ import annotations

import importlib.util
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from cffi import FFI

SOURCE = """
#include "opendbc/safety/tests/libsafety/fake_stm.h"
#include "opendbc/safety/can.h"
#include "opendbc/safety/safety.h"
void judge_clock(uint32_t us) { timer_cnt = us; }
void judge_second(void) { safety_mode_cnt++; safety_tick(&current_safety_config); }
bool judge_allows(void) { return controls_allowed; }
"""
DECLARED = """
typedef struct {
  unsigned char fd : 1; unsigned char bus : 3; unsigned char data_len_code : 4;
  unsigned char rejected : 1; unsigned char returned : 1; unsigned char extended : 1;
  unsigned int addr : 29; unsigned char checksum; unsigned char data[64];
} CANPacket_t;
bool safety_rx_hook(CANPacket_t *msg);
bool safety_tx_hook(CANPacket_t *msg);
int set_safety_hooks(uint16_t mode, uint16_t param);
void judge_clock(uint32_t us);
void judge_second(void);
bool judge_allows(void);
"""
LENGTHS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64)


class Hooks:
    """One safety mode. Each has its library and so its state to itself."""

    def __init__(self, folder: Path, mode: int, param: int = 0) -> None:
        """Compile into `folder` and start the mode. Raises when the compiler or the mode fails."""
        self._ffi = FFI()
        self._ffi.cdef(DECLARED, packed=True)
        self._lib: Any = self._ffi.dlopen(str(built(folder)))
        self._packet: Any = self._ffi.new("CANPacket_t *")
        self._second = 0
        assert self._lib.set_safety_hooks(mode, param) == 0, f"no safety mode {mode}"

    def clock(self, t_us: int) -> None:
        """Say what time it is; the checks of every second run when one has passed."""
        self._lib.judge_clock(t_us & 0xFFFFFFFF)
        if t_us // 1_000_000 > self._second:
            self._second = t_us // 1_000_000
            self._lib.judge_second()

    def received(self, frame_id: int, data: bytes, bus: int) -> bool:
        """A frame of the car. False: not one that counts."""
        return bool(self._lib.safety_rx_hook(self._frame(frame_id, data, bus)))

    def lets_through(self, frame_id: int, data: bytes, bus: int) -> bool:
        """A frame to the car: whether it may be sent."""
        return bool(self._lib.safety_tx_hook(self._frame(frame_id, data, bus)))

    @property
    def controls_allowed(self) -> bool:
        return bool(self._lib.judge_allows())

    def _frame(self, frame_id: int, data: bytes, bus: int) -> Any:
        packet = self._packet
        packet.addr, packet.bus, packet.extended = frame_id, bus, frame_id >= 0x800
        packet.data_len_code = LENGTHS.index(len(data))
        self._ffi.memmove(packet.data, data, len(data))
        return packet


def built(folder: Path) -> Path:
    """A copy of the library in a file of its own: what is loaded twice shares its state."""
    copy = folder / f"judge{len(list(folder.glob('judge*.so')))}.so"
    copy.write_bytes(_compiled())
    return copy


@cache
def _compiled() -> bytes:
    spec = importlib.util.find_spec("opendbc")
    assert spec is not None and spec.origin is not None
    root = Path(spec.origin).parents[1]
    with tempfile.TemporaryDirectory() as name:
        source, library = Path(name) / "judge.c", Path(name) / "judge.so"
        source.write_text(SOURCE)
        subprocess.run(
            ["cc", "-std=gnu11", "-O1", "-shared", "-fPIC", "-w", f"-I{root}", str(source),
             "-o", str(library)], check=True,
        )  # fmt: skip
        return library.read_bytes()
