# SPDX-License-Identifier: Apache-2.0
"""No bit of a closed log can change unnoticed, and nothing can be cut, swapped or put in."""

from __future__ import annotations

import mmap
import os
import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")

from mcap.opcode import Opcode
from mcap.reader import make_reader

from edgeguard._core import Core, Tape
from edgeguard.config import load, load_cards, policy_dict
from edgeguard.decision import Policy
from edgeguard.errors import EdgeguardError
from edgeguard.output.recorder import keys
from edgeguard.output.recorder.log_file import MAGIC, LogFile
from edgeguard.output.recorder.log_reader import Entry, Log, Raw, raw_records
from edgeguard.output.recorder.topics import TAPE, TOPICS, Translator
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
    parts = os.cpu_count() or 1
    with ProcessPoolExecutor(parts, mp_context=get_context("spawn")) as pool:
        found = pool.map(unnoticed, [sample] * parts, range(parts), [parts] * parts)
    assert list(found) == [[]] * parts


def unnoticed(sample: Sample, first: int, step: int) -> list[str]:
    """Of every so many-th byte, the flips that are not called a change."""
    changed, found = bytearray(sample.closed), []
    for at in range(first, len(changed), step):
        for bit in range(8):
            changed[at] ^= 1 << bit
            verdict = verify_bytes(bytes(changed), sample.pinned)
            if verdict.state is not State.CHANGED:
                found.append(f"byte {at}, bit {bit}: {verdict.text}")
            changed[at] ^= 1 << bit
    return found


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


def end_seal(sample: Sample) -> Raw:
    return [r for r in raw_records(sample.closed) if r.opcode == Opcode.METADATA][-1]


def only_index(sample: Sample, changed: bytes) -> bool:
    """Whether it counts as a log that a power cut has left without a part of its index."""
    verdict = verify_bytes(changed, sample.pinned)
    return (verdict.state, verdict.records) == (State.NOT_CLOSED, sample.records)


def test_every_cut_at_the_end(sample: Sample) -> None:
    """The same as a crash, and no more is vouched for than is there."""
    sealed = end_seal(sample).end
    for length in range(len(sample.closed)):
        cut = sample.closed[:length]
        verdict = verify_bytes(cut, sample.pinned)
        assert verdict.state is not State.CLOSED, f"cut to {length} bytes"
        if length >= sealed:
            assert only_index(sample, cut), f"cut to {length} bytes"


def test_every_cut_in_the_middle(sample: Sample) -> None:
    size, sealed = len(sample.closed), end_seal(sample).end
    for at in range(size - 1):
        end = at + 1 if at % 8 else min(at + 200, size - 1)  # a byte, or a piece
        cut = sample.closed[:at] + sample.closed[end:]
        changed = verify_bytes(cut, sample.pinned).state is State.CHANGED
        assert changed if at < sealed else only_index(sample, cut), f"{at} to {end}"


def test_zeros_at_the_end_are_a_cut(sample: Sample) -> None:
    """A power cut may leave a file longer than what was written to it."""
    for length in range(0, len(sample.crashed), 29):
        cut = sample.crashed[:length]
        padded = verify_bytes(cut + bytes(5000), sample.pinned)
        assert padded == verify_bytes(cut, sample.pinned), f"cut to {length} bytes"
    size = len(sample.closed)
    for length in range(end_seal(sample).end, size, 5):
        padded_index = sample.closed[:length] + bytes(size - length)
        assert only_index(sample, padded_index), f"cut to {length} bytes"
    assert verify_bytes(sample.closed + bytes(1), sample.pinned).state is State.CHANGED


def test_what_a_crash_left_half_done_ends_the_log(sample: Sample, tmp_path: Path) -> None:
    """Behind the last seal nobody vouches for anything; before it, damage is said."""
    chunks = [r for r in raw_records(sample.crashed) if r.opcode == Opcode.CHUNK]
    path, whole = tmp_path / "x.mcap", sample.crashed[: chunks[-1].end]

    def read(damaged: Raw) -> list[Entry]:
        middle = (damaged.start + damaged.end) // 2
        path.write_bytes(whole[:middle] + bytes(20) + whole[middle + 20 :])
        return list(Log(path).entries(TAPE))

    path.write_bytes(sample.crashed)
    complete = list(Log(path).entries(TAPE))
    found = read(chunks[-1])
    assert 0 < len(found) < len(complete) and found == complete[: len(found)]
    with pytest.raises(EdgeguardError, match="damaged at byte"):
        read(chunks[-2])
    path.write_bytes(bytes(4096))
    with pytest.raises(EdgeguardError, match="is empty"):
        Log(path)


def test_every_insertion(sample: Sample) -> None:
    for at in range(len(sample.closed) + 1):
        more = sample.closed[:at] + b"\x00" + sample.closed[at:]
        assert verify_bytes(more, sample.pinned).state is State.CHANGED, f"at {at}"


def test_every_record_dropped_doubled_and_swapped(sample: Sample) -> None:
    data = sample.closed
    records = list(raw_records(data))
    pieces = [data[r.start : r.end] for r in records]
    head, tail = data[: records[0].start], data[records[-1].end :]
    for i, dropped in enumerate(records):
        made = head + b"".join(pieces[:i] + pieces[i + 1 :]) + tail
        changed = verify_bytes(made, sample.pinned).state is State.CHANGED
        assert changed if dropped.start < end_seal(sample).end else only_index(sample, made), i
    orders = [[*range(i + 1), *range(i, len(pieces))] for i in range(len(pieces))]
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
        assert verdict.log_number is None, "this key says nothing of it"


def test_what_may_never_have_been_a_log(sample: Sample) -> None:
    """The alarm is that of a changed one, but nobody claims that it was one, or this key's."""
    for data in (b"hello", b"x" + sample.closed, MAGIC, MAGIC + MAGIC):
        verdict = verify_bytes(data, sample.pinned)
        assert (verdict.state, verdict.log_number) == (State.CHANGED, None)
        assert re.match(r"(holds no seal: )?is no log", verdict.text)
