# SPDX-License-Identifier: Apache-2.0
"""The firmware of the demo's guard, built once, and a machine that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeguard import config
from edgeguard.zoo import models_dir
from firmware_bridge import sim
from firmware_bridge.keys import Keys
from tests.qemu.machine import Machine

KEYS = Keys(bytes(range(16)), bytes(range(16, 32)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = sim.missing_tools()
    for item in items:
        if missing and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=f"needs: {missing}"))


@pytest.fixture(scope="session")
def table() -> dict[str, Any]:
    return config.mcu_dict(config.load(models_dir() / "guard.toml"))


@pytest.fixture(scope="session")
def firmware(table: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sim.build(table, KEYS, tmp_path_factory.mktemp("firmware"))


@pytest.fixture
def machine(firmware: Path, table: dict[str, Any], tmp_path: Path) -> Iterator[Machine]:
    with Machine(firmware, table, KEYS, tmp_path) as made:
        yield made
