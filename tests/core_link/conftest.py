# SPDX-License-Identifier: Apache-2.0
"""The link's C code as a shared library, to hold other implementations against."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cffi import FFI

from firmware_bridge.make_bridge import declarations

CORE = Path(__file__).parents[2] / "native" / "core"
HEADERS = ("evidence", "types", "flow", "e2e", "cobs", "cmac", "message", "link", "watchdog")


@dataclass(frozen=True)
class Link:
    """The library, and how to make its structs."""

    ffi: FFI
    lib: Any

    def end(self, mcu: bool, authenticated: bool, key: bytes) -> Any:
        """An eg_link_t that has heard nothing."""
        config = self.ffi.new("eg_link_config_t *")
        config.mcu, config.authenticated = mcu, authenticated
        config.period_us, config.max_age_us = 10_000, 20_000
        self.ffi.memmove(config.key, key, len(key))
        end = self.ffi.new("eg_link_t *")
        self.lib.eg_link_init(end, config)
        return end


@pytest.fixture(scope="session")
def link(tmp_path_factory: pytest.TempPathFactory) -> Link:
    """Compiled once. CC says by what."""
    library = tmp_path_factory.mktemp("core") / "libcore.so"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    sources = sorted(str(f) for f in CORE.glob("*.c"))
    flags = ["-shared", "-fPIC", "-O1", "-std=c99", f"-I{CORE / 'include'}", "-o", str(library)]
    done = subprocess.run(
        [*compiler, *flags, *sources], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ffi = FFI()
    ffi.cdef(declarations([CORE / "include" / "edgeguard" / f"{h}.h" for h in HEADERS], set()))
    return Link(ffi, ffi.dlopen(str(library)))
