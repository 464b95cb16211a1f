# SPDX-License-Identifier: Apache-2.0
"""The table in the microcontroller's flash: the same bytes everywhere, and every one counts."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import firmware_bridge
from edgeguard import config
from edgeguard.config import mcu as limits
from edgeguard.zoo import models_dir
from firmware_bridge import table
from firmware_bridge.native import ffi, lib
from tests.firmware_bridge.rig import KEYS

FULL = Path(__file__).parents[1] / "config" / "full" / "guard.toml"


@pytest.fixture(scope="module")
def mcu() -> dict[str, Any]:
    """Speed and steering, with a table of limits over speed."""
    return config.mcu_dict(config.load(FULL, calibrated=False))


def _numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, int):
        yield path
        return
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield from _numbers(item, (*path, key))


def test_every_number_is_in_the_hash(mcu: dict[str, Any]) -> None:
    seen = {table.table_hash(mcu)}
    paths = list(_numbers(mcu))
    for path in paths:
        other = json.loads(json.dumps(mcu))  # no two parts of it are one object
        holder = other
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] += -1 if holder[path[-1]] > 0 else 1
        seen.add(table.table_hash(other))
    assert len(seen) == len(paths) + 1
    assert len(paths) > 150


def test_the_hash_of_the_demo_is_fixed() -> None:
    """Two builds of the same guard.toml agree, on any machine; a change of the format does not."""
    mcu = config.mcu_dict(config.load(models_dir() / "guard.toml"))
    assert table.canonical(mcu)[:4] == b"EGT2"
    assert table.table_hash(mcu).hex() == DEMO


DEMO = "a22710a8c7f9b8cc74bb8775a49632bd4a7bb6fb2bf8e02698af6ba56601974d"


def test_the_core_takes_the_table(mcu: dict[str, Any]) -> None:
    made = ffi.new("eg_mcu_config_t *", table.values(mcu, KEYS))
    wrong = lib.eg_policy_check(ffi.addressof(made.policy))
    assert wrong == ffi.NULL or ffi.string(wrong) == b""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs cc: apt-get install -y gcc")
def test_the_c_source_says_the_same(mcu: dict[str, Any], tmp_path: Path) -> None:
    """What the compiler makes of the emitted source is what cffi makes of the values."""
    where = Path(firmware_bridge.__file__).parent
    (tmp_path / "table.c").write_text(table.c_source(mcu, KEYS, "a */ comment"))
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "mcu.h"\nextern const eg_mcu_config_t eg_mcu_config;\n'
        "int main(void) { fwrite(&eg_mcu_config, sizeof eg_mcu_config, 1, stdout); return 0; }\n"
    )
    core = where.parent / "native" / "core"
    if not core.is_dir():
        pytest.skip("needs the sources: the suite runs outside of a checkout")
    subprocess.run(
        [
            "cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-DEG_SMALL",
            f"-I{core}/include", f"-I{where}/mcu", "main.c", "table.c", "-o", "dump",
        ],
        cwd=tmp_path, check=True,
    )  # fmt: skip
    dumped = subprocess.run([tmp_path / "dump"], capture_output=True, check=True).stdout
    made = ffi.new("eg_mcu_config_t *", table.values(mcu, KEYS))
    assert dumped == bytes(ffi.buffer(made))


def test_the_link_counts_as_lost_when_the_firmware_says_so() -> None:
    """And the slowest loop that is allowed has two turns in that time."""
    assert limits.LINK_TIMEOUT_MS * 1000 == lib.EG_LINK_TIMEOUT_US
    assert 2 * limits.PERIODS_MS[1] * 1000 < lib.EG_LINK_TIMEOUT_US
