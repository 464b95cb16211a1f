# SPDX-License-Identifier: Apache-2.0
"""No bit of a closed log can change unnoticed, and nothing can be cut, swapped or put in."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")

from mcap.opcode import Opcode
from mcap.reader import make_reader

from edgeguard._core import Core, Tape
from edgeguard.config import load, load_cards, policy_dict
from edgeguard.decision import Policy
from edgeguard.output.recorder import keys
from edgeguard.output.recorder.log_file import LogFile
from edgeguard.output.recorder.log_reader import raw_records
from edgeguard.output.recorder.topics import TOPICS, Translator
from edgeguard.output.recorder.verify import State, verify_bytes
from tests.faults.bench import write_policy

DECISIONS, BLOCKS = 6, 3


class Sample(NamedTuple):
    """A small log, closed and not."""

    closed: bytes
    crashed: bytes
    pinned: str
    records: int


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    folder = tmp_path_factory.mktemp("tamper")
    config = load(write_policy(folder))
    policy = policy_dict(config, load_cards(config))
    tape, core = Tape(mmap.mmap(-1, 1 << 16)), Core(Policy(policy))
    core.record(tape)
    core.arm()
    signer = keys.begin(folder / "key.json")
    log = LogFile(folder / "small.mcap", TOPICS, {"policy": "small"}, lambda: signer)
    translator, records = Translator(policy), 0
    for block in range(BLOCKS):
        for n in range(DECISIONS // BLOCKS):
            core.decide({"speed": 5.0}, {"target_speed": 1.0}, 0, 10_000_000 * (2 * block + n + 1))
        for record in tape.take(1 << 20):
            translator.put(record, log)
            records += 1
        log.flush()
    crashed = log.path.read_bytes()
    log.close()
    pinned = (folder / "key.pub").read_text().strip()
    return Sample(log.path.read_bytes(), crashed, pinned, records)


def test_the_sample_is_good_and_opens_elsewhere(sample: Sample, tmp_path: Path) -> None:
    verdict = verify_bytes(sample.closed, sample.pinned)
    assert (verdict.state, verdict.records, verdict.decisions) == (0, sample.records, DECISIONS)
    (tmp_path / "s.mcap").write_bytes(sample.closed)
    with (tmp_path / "s.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None and summary.statistics is not None
        assert summary.statistics.message_count == len(list(reader.iter_messages()))
        assert summary.statistics.chunk_count == BLOCKS
        assert len(summary.metadata_indexes) == 2
        assert {m.name for m in reader.iter_metadata()} == {"edgeguard.log", "edgeguard.lineage"}


def test_a_crash_is_no_tampering(sample: Sample) -> None:
    verdict = verify_bytes(sample.crashed, sample.pinned)
    assert verdict.state is State.NOT_CLOSED
    assert verdict.text == f"not closed, ends at record {sample.records}"


def test_every_bit_of_every_byte(sample: Sample) -> None:
    changed = bytearray(sample.closed)
    for at in range(len(changed)):
        for bit in range(8):
            changed[at] ^= 1 << bit
            verdict = verify_bytes(bytes(changed), sample.pinned)
            assert verdict.state is State.CHANGED, f"byte {at}, bit {bit}: {verdict.text}"
            changed[at] ^= 1 << bit


def test_every_bit_of_a_crashed_log_up_to_its_last_seal(sample: Sample) -> None:
    """The last seal itself may look torn when its length is hit; then the log ends before it."""
    seals = [r for r in raw_records(sample.crashed) if r.opcode == Opcode.METADATA]
    changed = bytearray(sample.crashed)
    for at in range(len(changed)):
        changed[at] ^= 1 << at % 8
        verdict = verify_bytes(bytes(changed), sample.pinned)
        if at < seals[-1].start:
            assert verdict.state is not State.CLOSED
            assert verdict.records < sample.records, "what was changed is not vouched for"
        assert verdict.state is State.CHANGED or verdict.records < sample.records
        changed[at] ^= 1 << at % 8


def test_every_cut_at_the_end(sample: Sample) -> None:
    """A cut in the index says so; before the end record it is the same as a crash, and no more is
    vouched for than is there."""
    end_seal = [r for r in raw_records(sample.closed) if r.opcode == Opcode.METADATA][-1]
    for length in range(len(sample.closed)):
        verdict = verify_bytes(sample.closed[:length], sample.pinned)
        assert verdict.state is not State.CLOSED, f"cut to {length} bytes"
        if length >= end_seal.end:
            assert verdict.state is State.CHANGED, f"cut to {length} bytes"


def test_every_cut_in_the_middle(sample: Sample) -> None:
    size = len(sample.closed)
    for at in range(size - 1):
        end = at + 1 if at % 8 else min(at + 200, size - 1)  # a byte, or a piece
        cut = sample.closed[:at] + sample.closed[end:]
        assert verify_bytes(cut, sample.pinned).state is State.CHANGED, f"{at} to {end}"


def test_every_insertion(sample: Sample) -> None:
    for at in range(len(sample.closed) + 1):
        more = sample.closed[:at] + b"\x00" + sample.closed[at:]
        assert verify_bytes(more, sample.pinned).state is State.CHANGED, f"at {at}"


def test_every_record_dropped_doubled_and_swapped(sample: Sample) -> None:
    data = sample.closed
    records = list(raw_records(data))
    pieces = [data[r.start : r.end] for r in records]
    head, tail = data[: records[0].start], data[records[-1].end :]
    orders = [[*range(i), *range(i + 1, len(pieces))] for i in range(len(pieces))]
    orders += [[*range(i + 1), *range(i, len(pieces))] for i in range(len(pieces))]
    for i in range(len(pieces)):
        for j in range(i):
            order = list(range(len(pieces)))
            order[i], order[j] = order[j], order[i]
            orders.append(order)
    for order in orders:
        made = head + b"".join(pieces[i] for i in order) + tail
        if made != data:
            assert verify_bytes(made, sample.pinned).state is State.CHANGED, order


def test_a_log_of_somebody_else(sample: Sample) -> None:
    for pinned in ("00" * 32, "ab" * 32):
        verdict = verify_bytes(sample.closed, pinned)
        assert verdict.state is State.CHANGED
        assert "another key" in verdict.text
