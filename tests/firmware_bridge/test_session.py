# SPDX-License-Identifier: Apache-2.0
"""A session as the deciding thread sees it, on a pty."""

from __future__ import annotations

import os

from firmware_bridge.host import Phase
from firmware_bridge.native import causes_of, ffi, lib
from firmware_bridge.session import Session
from tests.firmware_bridge.board import Board, pseudo_terminal, wait_for
from tests.firmware_bridge.rig import KEYS, Rig
from tests.firmware_bridge.test_links import decision


def test_what_came_before_the_loop_ran_is_no_fault_of_the_link(rig: Rig) -> None:
    """The cameras took their time: dozens of STATEs came, and nobody ticked."""
    with (
        pseudo_terminal() as (master, name),
        Session(name, rig.table, KEYS) as session,
        Board(rig.table, KEYS, master) as board,
    ):
        assert session.wait_heard(20.0) is None
        wait_for(lambda: session.counts["excess"] > 20)
        _, causes = session.before()
        assert set(causes_of(causes)) <= {"PEER_STOPPED"}
        board.die()
        wait_for(lambda: "LINK_LOST" in causes_of(session.before()[1]))


def test_a_command_is_as_old_as_what_it_was_decided_on(rig: Rig) -> None:
    """Deciding took 7 ms: the stamp is of before."""
    clock_ns = [5_000_000_000]
    with (
        pseudo_terminal() as (board, name),
        Session(name, rig.table, KEYS, clock_ns=lambda: clock_ns[0]) as session,
    ):
        lib.eg_link_open(session._host._link, bytes(8), bytes(8))
        session._host.phase = Phase.ARMED
        session.before()
        clock_ns[0] += 7_000_000
        session.after(decision(rig))
        end = ffi.new("eg_link_t *")
        lib.eg_link_init(
            end, ffi.new("eg_link_config_t *", {"mcu": 1, "key": KEYS.link, **rig.table["link"]})
        )
        lib.eg_link_open(end, bytes(8), bytes(8))
        assert lib.eg_clock_measure(ffi.addressof(end, "clock"), 0, 2, 1)
        message = ffi.new("eg_message_t *")
        heard = False
        while not heard:
            for byte in os.read(board, 1):
                heard = lib.eg_link_byte(end, byte, 5_000_000, message)
        assert getattr(message, "as").command.stamp_us == 5_000_000
