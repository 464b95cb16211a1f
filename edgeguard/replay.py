# SPDX-License-Identifier: Apache-2.0
"""A log in, the same decisions out: computed again by the C core, without any model."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from attrs import define

from edgeguard._core import Policy, Replayer, policy_record
from edgeguard.errors import EdgeguardError
from edgeguard.output.recorder.log_reader import Log
from edgeguard.output.recorder.topics import DECISION, GAP, POLICY, TAPE
from edgeguard.output.sinks import as_record


@define
class Outcome:
    """What came of a replay."""

    decisions: int = 0
    """Computed again, and bit for bit the same."""
    unknown: int = 0
    """Not computed: after a gap, the state that they started from is not known."""
    lost: int = 0
    """Records that the log says are missing."""
    difference: str | None = None
    """The first thing that comes out otherwise, in words."""


def policy_of(log: Log) -> dict[str, Any]:
    """The policy that a log was made under. Raises EdgeguardError when it holds none."""
    try:
        policy = json.loads(log.about["policy"])
        Policy(policy)
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise EdgeguardError(
            f"{log.path}: its policy is none for this version of edgeguard "
            f"(recorded by {log.about.get('version', 'an unknown one')}): {error}"
        ) from None
    assert isinstance(policy, dict)
    return policy


def tape_of(log: Log) -> Iterator[bytes]:
    """The records that a replay needs, in order."""
    return (entry.data for entry in log.entries(TAPE))


def replay(path: Path, private_key: Path | None = None) -> Outcome:
    """Compute every decision of a log again; private_key: see `Log`.

    Raises EdgeguardError when it cannot be read.
    """
    log = Log(path, private_key)
    policy = Policy(policy_of(log))
    replayer, outcome = Replayer(policy), Outcome()
    for record in tape_of(log):
        if record[:1] == bytes([POLICY]) and record != policy_record(policy):
            raise EdgeguardError(f"{path}: the policy on its tape is not the one it describes")
        result = replayer.feed(record)
        if result == "malformed":
            raise EdgeguardError(f"{path}: damaged after {outcome.decisions} decisions")
        if result == "differs":
            outcome.difference = _difference(replayer, record)
            return outcome
        if record[0] == DECISION:
            outcome.decisions += result == "same"
            outcome.unknown += result == "nothing"
        elif record[0] == GAP:
            outcome.lost += int.from_bytes(record[1:5], "little")
    return outcome


def export(path: Path, out: BinaryIO, private_key: Path | None = None) -> int:
    """Write the tape for `native/core/record/replay_tape.c`; returns how many records."""
    count = 0
    for record in tape_of(Log(path, private_key)):
        out.write(struct.pack("<I", len(record)) + record)
        count += 1
    return count


def _difference(replayer: Replayer, record: bytes) -> str:
    if record[0] != DECISION:
        return "the core's state, or the result of an operation, is not what was recorded"
    (t_ns, was), (_, made) = replayer.decision(record), replayer.decision(replayer.made)
    where = f"decision {was.sequence} at {t_ns / 1e9:.3f} s"
    before, after = as_record(was, t_ns), as_record(made, t_ns)
    for key, value in before.items():
        if after[key] != value:
            return f"{where}: {key} was {value}, is {after[key]}"
    return f"{where}: the evidence that every check ran is not what was recorded"
