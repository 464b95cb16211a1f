# SPDX-License-Identifier: Apache-2.0
"""Round trips to a twin in real time; how long they take is not judged here."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from firmware_bridge import probe
from firmware_bridge.links import Link, open_link
from tests.firmware_bridge.board import PATIENCE_S, Board, pseudo_terminal
from tests.firmware_bridge.rig import KEYS, Rig


def test_round_trips_over_a_pty(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes come at once: the first are heard before the port is handed over."""
    failed: list[BaseException] = []

    def open_slowly(url: str, heard: Callable[[bytes], None]) -> Link:
        came = threading.Event()

        def first(data: bytes) -> None:
            try:
                heard(data)
            except Exception as error:
                failed.append(error)
                raise
            finally:
                came.set()

        link = open_link(url, first)
        assert came.wait(PATIENCE_S)
        return link

    monkeypatch.setattr(probe, "open_link", open_slowly)
    with pseudo_terminal() as (master, name), Board(rig.table, KEYS, master):
        trips = probe.round_trips(name, rig.table, KEYS, 3)
    assert not failed
    assert len(trips.host) == len(trips.mcu) == 3
    assert min(trips.host + trips.mcu) > 0
