# SPDX-License-Identifier: Apache-2.0
"""A user's own files: where they are, and what is said where nobody knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeguard.bundle.state import state_dir
from edgeguard.errors import EdgeguardError
from edgeguard.output.recorder.keys import default_path as log_key
from firmware_bridge.keys import default_path as mcu_keys

KEPT = pytest.mark.parametrize(
    ("where", "variable", "name"),
    [
        (log_key, "XDG_CONFIG_HOME", "edgeguard/log-key.json"),
        (mcu_keys, "XDG_CONFIG_HOME", "edgeguard/mcu-keys.json"),
        (state_dir, "XDG_STATE_HOME", "edgeguard"),
    ],
)


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "EDGEGUARD_STATE", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


@KEPT
def test_a_place_that_is_named_is_taken(
    monkeypatch: pytest.MonkeyPatch, where: Callable[[], Path], variable: str, name: str
) -> None:
    monkeypatch.setenv(variable, "/kept")
    assert where() == Path("/kept") / name


@KEPT
def test_without_a_home_it_is_said_what_to_set(
    monkeypatch: pytest.MonkeyPatch, where: Callable[[], Path], variable: str, name: str
) -> None:
    """As a service of a user that no machine knows."""

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(EdgeguardError, match=f"no home directory .* set HOME or {variable}"):
        where()
