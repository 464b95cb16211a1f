# SPDX-License-Identifier: Apache-2.0
"""What people read in a log: as its schemas say, and of the run that it is from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")

from edgeguard.output.recorder.log_reader import Log
from edgeguard.output.recorder.topics import DECISIONS, TOPICS
from tests.faults.bench import POLICY, Bench, write_policy
from tests.faults.watched import SIGNALS, WHEEL


def test_a_decision_says_what_its_schema_names_and_no_more(tmp_path: Path, log: Path) -> None:
    """Which detectors tripped is on no tape: nothing is better than an empty list of them."""
    made = Bench(write_policy(tmp_path, POLICY + SIGNALS + WHEEL))
    made.signals |= {"throttle": 0.4, "brake": 0.0, "wheel": 12.0}
    made.guard.record(log, key=tmp_path / "key.json")
    made.run(300, "twenty")
    assert made.decision.detectors == ("wheel",)
    made.guard.close()
    (schema,) = (topic.schema for topic in TOPICS if topic.name == DECISIONS)
    said = [json.loads(entry.data) for entry in Log(log).entries(DECISIONS)]
    assert "ASSOCIATION_BROKEN" in said[-1]["present"]
    assert "detectors" not in schema["properties"]
    assert {frozenset(one) for one in said} == {frozenset(schema["properties"])}


@pytest.mark.parametrize("edit", ["changed", "gone"])
def test_a_log_vouches_for_the_policy_in_force_not_for_what_became_of_its_file(
    tmp_path: Path, log: Path, edit: str
) -> None:
    policy = write_policy(tmp_path, "\ufeff# Grüße\r\n" + POLICY)
    read = policy.read_bytes()
    made = Bench(policy)
    if edit == "gone":
        policy.unlink()
    else:
        policy.write_bytes(read.replace(b"max_age_ms = 100\n", b"max_age_ms = 900\n"))
    made.guard.record(log, key=tmp_path / "key.json")
    made.guard.close()
    said = Log(log).about
    assert said["guard.toml"].encode() == read
    assert said["guard.toml.sha256"] == hashlib.sha256(read).hexdigest()
    assert json.loads(said["policy"])["members"][0]["max_age_us"] == 100_000
