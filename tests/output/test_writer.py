# SPDX-License-Identifier: Apache-2.0
"""The queue before whatever may block: what is handed over, what is lost and counted."""

from __future__ import annotations

import threading

from edgeguard.output.writer import Writer


class Gate:
    """Takes nothing until it is opened."""

    def __init__(self) -> None:
        self.open, self.in_hand = threading.Event(), threading.Event()
        self.taken: list[int] = []

    def __call__(self, item: int) -> None:
        self.in_hand.set()
        self.open.wait()
        self.taken.append(item)


def blocked(most: int) -> tuple[Gate, Writer]:
    """With item 0 in the hands of the gate, and 1 to 9 put behind it."""
    gate = Gate()
    writer = Writer("test", gate, most)
    writer.put(0)
    gate.in_hand.wait()
    for item in range(1, 10):
        writer.put(item)
    return gate, writer


def test_the_newest_stay_in_order() -> None:
    gate, writer = blocked(4)
    gate.open.set()
    writer.close(60.0)
    assert (gate.taken, writer.lost) == ([0, 6, 7, 8, 9], 5)


def test_what_has_waited_too_long_is_never_handed_over() -> None:
    taken: list[int] = []
    writer = Writer("test", taken.append, 4, fresh_ns=-1)
    for item in range(10):
        writer.put(item)
    writer.close(60.0)
    assert (taken, writer.lost) == ([], 10)


def test_what_is_given_up_counts_as_lost() -> None:
    gate, writer = blocked(4)
    writer.close(0.0)
    assert writer.lost == 10, "the one in its hands, too: nobody knows what became of it"
    gate.open.set()


def test_after_a_failure_nothing_is_handed_over() -> None:
    taken: list[int] = []

    def take(item: int) -> None:
        taken.append(item)
        raise OSError("broken")

    writer = Writer("test", take, 4)
    writer.put(1)
    writer.put(2)
    writer.close(60.0)
    assert taken == [1]
    assert str(writer.failure) == "broken"
