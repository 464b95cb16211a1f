# SPDX-License-Identifier: Apache-2.0
"""The guard: frames and signals in, one command out on every tick.

    frame ──▶ intake ──▶ inference ──▶ evidence ──▶ decision ──▶ command

``observe`` goes as far as the evidence and returns; ``decide`` runs on a fixed tick, waits for
nothing and always returns a command; ``step`` is both, for the simple loop.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeguard import wiring
from edgeguard.alarm import limits
from edgeguard.config import GuardConfig, load
from edgeguard.decision import Decision
from edgeguard.errors import BundleRefused, ConfigError, EdgeguardError, ModelRefused, in_words
from edgeguard.given import MAX_NS, as_stamp
from edgeguard.intake.camera import Box
from edgeguard.observing import take_answers

if TYPE_CHECKING:
    from edgeguard.output.recorder import Recorder

_log = logging.getLogger("edgeguard")


class Guard:
    """A loaded policy with its members. One thread decides; others may observe and suggest.

    All times are integer nanoseconds of one monotonic clock, which may be a simulated one; ages
    count from capture.
    """

    def __init__(self, config: GuardConfig, operator_token: str | None = None) -> None:
        """Raises ConfigError when a card, a controller or a number does not fit."""
        if operator_token is not None and not (isinstance(operator_token, str) and operator_token):
            raise ConfigError("operator_token: want a text that is not empty, or None")
        self.config = config
        self._token = operator_token
        self._parts = wiring.connect(config)
        self._core = self._parts.core
        self._recorder: Recorder | None = None
        self._risk = self._parts.risk
        self._listeners = tuple(self._parts.listeners.values())
        # Looked up once: each of these is used on every tick, with cold caches.
        self._eyes, self._remote = self._parts.eyes, self._parts.remote_seats
        self._read, self._shadow = self._parts.read, self._parts.shadow
        self._last, self._decide = self._core.last, self._core.decide

    @classmethod
    def load(
        cls, path: str | Path, operator_token: str | None = None, *,
        trust: Iterable[Path] = (), unsigned: bool = False,
    ) -> Guard:  # fmt: skip
        """Read ``guard.toml`` or a signed bundle. Raises ConfigError: file, line or part, and key.

        operator_token: what a person must show to ``rearm``; without one there is no re-arming.
        trust, unsigned: see `edgeguard.config.load`.
        """
        return cls(load(path, trust=trust, unsigned=unsigned), operator_token)

    @property
    def members(self) -> Mapping[str, Any]:
        """The opened members by name; empty before ``arm`` and for external ones."""
        return self._parts.members

    def arm(self) -> None:
        """Open every member, hold it to its golden vectors, prove that the rules run, and arm.

        Before it: SAFE_STOP. Raises ModelRefused, which names the file and the reason, or
        ConfigError when a rule-based controller does not run; then the guard stays unarmed.
        """
        self._parts.prove_rules()
        try:
            self._parts.open_members()
            if self.config.bundle is not None:
                self._parts.take_bundle(self.config.bundle)
        except (ModelRefused, BundleRefused):
            self.event("refused_file")
            raise
        self._core.arm()

    def observe(
        self, camera: str, frame: npt.NDArray[np.uint8], t_ns: int, box: Box | None = None,
        now_ns: int | None = None,
    ) -> None:  # fmt: skip
        """Hand a frame to the members that look through this camera.

        frame: uint8 in the camera's format; t_ns: when it was captured; box: (x, y, width, height)
        of the part to look at; now_ns: what the clock of t_ns says now, so that the time since the
        capture counts against deadline_ms, too; without it only what passes from here on does.
        Members in this process run here and now; others answer later and are heard in ``decide``.
        Raises ValueError or TypeError for a frame or a stamp that does not fit.
        """
        eye = self._eyes.get(camera) or self._parts.eye(camera)
        if type(t_ns) is not int or not -MAX_NS <= t_ns <= MAX_NS:
            t_ns = as_stamp(t_ns)
        since_ns = monotonic_ns()
        if now_ns is not None:
            since_ns -= max(0, as_stamp(now_ns, "now_ns") - t_ns)
        eye.see(frame, box, t_ns, since_ns)

    def suggest(
        self, member: str, scores: npt.ArrayLike, t_capture_ns: int, t_ready_ns: int
    ) -> None:
        """Take the scores of a member that runs elsewhere.

        scores: [n] in the dtype of the member's card. What cannot be read as such counts as insane,
        an empty or absent answer as none; neither raises. Raises KeyError for an unknown member.
        """
        self._core.suggest(self._parts.member_index(member), scores, t_capture_ns, t_ready_ns)
        if member in self._parts.listeners:
            self._parts.listeners[member].heard(t_capture_ns)

    def decide(
        self, signals: Mapping[str, float], t_ns: int,
        authenticated: Mapping[str, float] | None = None,
    ) -> Decision:  # fmt: skip
        """One control step: never waits, never raises, always a command.

        signals: name to value in the unit of its table; ``engaged`` = 0 while the vehicle asks for
        no commands. What is missing, NaN or out of range is INPUT_INVALID, and missing for the
        rule-based controllers, too. authenticated: those whose sender was proved, by a link with a
        tag; they replace others of the same name, and what the policy wants authenticated counts
        only here.
        """
        if self._remote:
            take_answers(self._core, self._remote)
        given, valid = self._read(signals, authenticated)
        last = self._last or self._parts.first_commands(valid)
        rule, spent_ns = self._shadow.run(valid, last, t_ns)
        for listener in self._listeners:
            listener.tick(t_ns)
        if self._risk is None:
            return self._decide(given, rule, spent_ns, t_ns)
        self._risk.tick(t_ns)
        made = self._decide(given, rule, spent_ns, t_ns)
        self._risk.noticed(made.present_mask)
        return made

    def step(
        self,
        camera: str,
        frame: npt.NDArray[np.uint8] | None,
        signals: Mapping[str, float],
        t_ns: int,
        box: Box | None = None,
    ) -> Decision:
        """``observe`` and ``decide``; a frame that does not fit is no frame, and never raises."""
        if frame is not None:
            try:
                self.observe(camera, frame, t_ns, box)
            except Exception as error:  # SystemExit passes: a SIGTERM ends the program
                _log.warning("%s: frame refused: %s", camera, in_words(error).partition("\n")[0])
        return self.decide(signals, t_ns)

    def wait(self, timeout_s: float) -> None:
        """Block until every worker has answered, or the time is up: for simulated streams only."""
        take_answers(self._core, self._remote, timeout_s)

    def evidence(self, member: str) -> dict[str, Any]:
        """What this member said last: label, value, certainty, margin, entropy, energy; however
        old that is. Raises KeyError for an unknown member."""
        return self._core.evidence(self._parts.member_index(member))

    def knows(self, token: str) -> bool:
        """Whether this is the operator's token; a wrong one is no security event here."""
        given = token.encode(errors="replace") if isinstance(token, str) else b""
        return self._token is not None and hmac.compare_digest(given, self._token.encode())

    def doubts(self, token: str) -> str | None:
        """Why this is not the operator's token, or None when it is."""
        if self._token is None:
            return "no operator token was given to Guard.load"
        if self.knows(token):
            return None
        self.event("failed_authentication")
        return "wrong operator token"

    def rearm(self, token: str) -> str | None:
        """Clear the causes that wait for a person. Returns why not, or None when it was done."""
        return self.doubts(token) or self._core.rearm()

    def ask(self, question: int) -> None:
        """Let the next decision's checks answer this question of a watchdog (32 bits, not 0)."""
        self._core.ask(question)

    def note(self, causes: int) -> None:
        """Causes that somebody else found, one bit each in the order of ``CAUSES``, for the next
        decision: what the link to a microcontroller says of itself, for instance."""
        self._core.note(causes)

    def event(self, name: str) -> None:
        """A security event that somebody else found, for the risk level: "sandbox_violation",
        "refused_file", "failed_authentication", "link_error" or "bus_intrusion". Any thread.

        Raises ValueError for another name. Without a detector of kind "risk" it is only logged.
        """
        self._parts.event(name)

    @property
    def risk(self) -> int | None:
        """The risk level of the last decision, 0 to 3; None without a detector of kind "risk"."""
        return None if self._risk is None else self._risk.level

    def bus(self, numbers: Mapping[str, float], t_ns: int) -> None:
        """Give the detectors of kind "bus" their numbers, by feature: see evidence.bus.Monitor.

        They stand for the detector's max_age_ms; without newer ones it trips. A feature that is
        missing is no number, which trips as well.
        """
        for row, feature in self._parts.bus_rows:
            self._core.measure(row, float(numbers.get(feature, "nan")), t_ns)

    def takeover(self) -> None:
        """A person drives: commands follow the measured values until ``rearm``."""
        self._core.takeover()

    def record(
        self, path: str | Path, *, key: Path | None = None, recipient: Path | None = None,
        keep_mb: float | None = None, keep_hours: float | None = None,
        frames_hz: float | None = None,
    ) -> Recorder:  # fmt: skip
        """Record every decision with its whole input from now on, until ``close``.

        path: a new MCAP file, or the pattern of a row of files when a limit is given; key: the file
        of the key that signs it; recipient: a public key (X25519, PEM), whose owner alone can read
        what is recorded; frames_hz: also record so many frames a second, as they are given to
        ``Recorder.frames``. Call it before ``arm``. Raises EdgeguardError when the log cannot be
        begun, or frames may not be in it. Needs the extra ``record``.
        """
        from edgeguard.output.recorder import Recorder, about

        if self._recorder is not None:
            raise EdgeguardError(f"already recording to {self._recorder.path}")
        disclosure = self.config.telemetry.disclosure
        if frames_hz is not None and recipient is None and disclosure != "full":
            raise EdgeguardError(
                f'{self.config.source}: telemetry.disclosure: is "{disclosure}", so no frames are'
                ' recorded that others can read; encrypt the log (--record-to), or write "full"'
            )
        said = about(self.config, self._parts.cards, limits(self.config, self._risk))
        self._recorder = Recorder(
            path, self._core, said, key=key, recipient=recipient, keep_mb=keep_mb,
            keep_hours=keep_hours, frames_hz=frames_hz,
        )  # fmt: skip
        self._parts.event.record(self._recorder.note)
        return self._recorder

    @property
    def log_head(self) -> tuple[int, bytes] | None:
        """Number and head of the last seal of the recording that is on the disk, if there is one:
        whoever keeps it elsewhere can tell later whether the log was cut."""
        return self._recorder.last_seal if self._recorder is not None else None

    def close(self) -> None:
        """End the members and the recording. Without them the guard still decides: it falls
        back."""
        self._parts.close()
        if self._recorder is not None:
            self._parts.event.record(None)
            self._recorder.close()
        if self.config.bundle is not None:
            self.config.bundle.close()

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
