# SPDX-License-Identifier: Apache-2.0
"""What a log holds: the tape for machines, the same in JSON for people who plot it."""

from __future__ import annotations

import json
import math
from typing import Any

from edgeguard._core import Policy, Replayer
from edgeguard.output.recorder.log_file import LogFile, Topic
from edgeguard.output.sinks import as_record

# Kinds of records on the tape (native/core/record/record.h).
POLICY, STATE, DECISION, ARM, REARM, TAKEOVER, SCORES, GAP = range(1, 9)

TAPE, DECISIONS, SIGNALS, HEALTH, RAW_SCORES, NOTES, FRAMES = (
    "/edgeguard/tape", "/edgeguard/decision", "/edgeguard/signals", "/edgeguard/health",
    "/edgeguard/scores", "/edgeguard/note", "/edgeguard/frame",
)  # fmt: skip

_NUMBER, _TEXT = {"type": "number"}, {"type": "string"}
_NUMBERS = {"type": "object", "additionalProperties": {"type": ["number", "null"]}}


def _object(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties}


_STAMP = _object(sec=_NUMBER, nsec=_NUMBER)


TOPICS = (
    Topic(TAPE, "edgeguard-tape-1"),
    Topic(
        DECISIONS, "json", "edgeguard.Decision",
        _object(
            t_ns=_NUMBER, sequence=_NUMBER, mode=_TEXT, severity=_NUMBER, command=_NUMBERS,
            active={"type": "boolean"}, operator_request={"type": "boolean"},
            causes={"type": "array", "items": _TEXT}, present={"type": "array", "items": _TEXT},
            evidence={"type": "object"}, ages_ms=_NUMBERS,
        ),
    ),
    Topic(SIGNALS, "json", "edgeguard.Signals", _NUMBERS),
    Topic(
        HEALTH, "json", "edgeguard.Health",
        _object(
            period_ms=_NUMBER, rule_ms=_NUMBER, certainty=_NUMBERS, latency_ms=_NUMBERS,
            detectors=_NUMBERS,
        ),
    ),
    Topic(RAW_SCORES, "edgeguard-tape-1"),
    Topic(
        NOTES, "json", "foxglove.Log",
        _object(timestamp=_STAMP, level=_NUMBER, message=_TEXT, name=_TEXT),
    ),
    Topic(
        FRAMES, "json", "foxglove.RawImage",
        _object(
            timestamp=_STAMP, frame_id=_TEXT, width=_NUMBER, height=_NUMBER, encoding=_TEXT,
            step=_NUMBER, data={"type": "string", "contentEncoding": "base64"}, t_ns=_NUMBER,
            number=_NUMBER, box={"type": ["array", "null"], "items": _NUMBER},
        ),
    ),
)  # fmt: skip
CHANNEL = {topic.name: number for number, topic in enumerate(TOPICS, 1)}
WARNING = 3  # of foxglove.Log


class Translator:
    """Puts records of a tape into the log, and beside them what a person can read."""

    def __init__(self, policy: dict[str, Any]) -> None:
        """policy: as `edgeguard.config.policy_dict` makes it."""
        self._replayer = Replayer(Policy(policy))
        self._detectors = [row["name"] for row in policy["detectors"]]
        self._t_ns = 0

    def put(self, record: bytes, log: LogFile) -> None:
        """One record; its time is that of the decision before it, or its own."""
        kind = record[0]
        if kind == DECISION:
            self._decision(record, log)
            return
        channel = RAW_SCORES if kind == SCORES else TAPE
        log.add(CHANNEL[channel], self._t_ns, record)
        log.count(decisions=0)
        if kind == GAP:
            lost = int.from_bytes(record[1:5], "little")
            self.note(f"gap: {lost} records are missing here", log)

    def _decision(self, record: bytes, log: LogFile) -> None:
        t_ns, decision = self._replayer.decision(record)
        self._t_ns = max(t_ns, 0)
        log.add(CHANNEL[TAPE], self._t_ns, record)
        log.count(decisions=1)
        said = {**as_record(decision, t_ns), "severity": int(decision.mode)}
        del said["detectors"]  # which ones tripped is not on the tape
        got = self._replayer.input(record)
        members = got["members"]
        health = {
            "period_ms": got["elapsed_us"] / 1000,
            "rule_ms": got["rule_us"] / 1000,
            "certainty": {name: m["certainty"] for name, m in members.items()},
            "latency_ms": {name: m["latency_us"] / 1000 for name, m in members.items()},
            "detectors": {  # those that say something; null: what cannot be read
                name: number
                for name, number in zip(self._detectors, got["detectors"], strict=True)
                if number is None or not math.isnan(number)
            },
        }
        for topic, content in ((DECISIONS, said), (SIGNALS, got["signals"]), (HEALTH, health)):
            log.add(CHANNEL[topic], self._t_ns, _json(content))

    def note(self, message: str, log: LogFile, t_ns: int | None = None) -> None:
        """For a person, of this time, or of the last decision's."""
        t_ns = self._t_ns if t_ns is None else max(t_ns, 0)
        sec, nsec = divmod(t_ns, 1_000_000_000)
        content = {
            "timestamp": {"sec": sec, "nsec": nsec}, "level": WARNING, "message": message,
            "name": "recorder",
        }  # fmt: skip
        log.add(CHANNEL[NOTES], t_ns, _json(content))


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
