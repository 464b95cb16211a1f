# SPDX-License-Identifier: Apache-2.0
"""What happens to frames between host and microcontroller: F12, F13, F14, F17."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from firmware_bridge.campaign.case import Case, Fault
from firmware_bridge.campaign.drive import ANSWER, COMMAND, Decision, Piece
from firmware_bridge.host import HostLink
from firmware_bridge.keys import Keys
from firmware_bridge.native import MESSAGES, ffi, lib

LINK = frozenset({"LINK_LOST", "LINK_FAULTY"})
AFTER = 45  # turns after the onset: 0.45 s

# ------------------------------------------------------------------ F12


def stale(c: Case) -> None:
    """Old commands instead of new ones, or beside them."""
    kind = c.rng.choice(
        ("delayed", "old stamp", "frozen", "replay", "old session", "one old frame")
    )
    drive = c.start(sessions=2 if kind == "old session" else 1)
    {
        "delayed": _delayed,
        "old stamp": _old_stamp,
        "frozen": _old_stamp,
        "replay": _replay,
        "old session": _old_session,
        "one old frame": _one_old,
    }[kind](c, kind)
    c.go(AFTER)
    drive.up, drive.change = list, None


def _delayed(c: Case, kind: str) -> None:
    late_us = c.rng.randint(c.drive.judge.limits.max_age_us + 1500, 90_000)
    c.drive.up = lambda pieces: [p._replace(at_us=p.at_us + late_us) for p in pieces]
    c.begin(kind)
    c.stop()


def _old_stamp(c: Case, kind: str) -> None:
    """The host goes round, but what it sends was decided long ago, and its stamp says so."""
    drive = c.drive
    lag_us = c.rng.randint(drive.judge.limits.max_age_us + 1500, 2_000_000)
    froze_us = drive.us
    held = tuple(drive.want[: drive.channels])

    def change(d: Decision) -> None:
        at_us = drive.decided[d.sequence][0]
        old_us = froze_us if kind == "frozen" else at_us - lag_us
        if kind == "frozen":
            d.command_q16 = held
            d.sign((1, 2, 3, 4, 5))
        drive.decided[d.sequence] = old_us, d.command_q16, True
        drive.host.decided(d, drive.host_us(old_us))
        drive.send(at_us)

    drive.change = change
    c.begin(kind)
    c.stop()
    c.counts = ("stale",)


def _replay(c: Case, kind: str) -> None:
    """Recorded bytes of the last periods come again and again, instead of new ones."""
    drive, kept, again = c.drive, list[Piece](), c.rng.randint(1, 12)

    def keep(pieces: list[Piece]) -> list[Piece]:
        kept.extend(pieces)
        return pieces

    def replay(pieces: list[Piece]) -> list[Piece]:
        first = kept[:3] if not kept else kept.pop(0)
        old = first if isinstance(first, Piece) else pieces[0]
        kept.append(old)
        return [old._replace(at_us=pieces[0].at_us)]

    drive.up = keep
    c.go(again)
    drive.up = replay
    c.begin(kind)
    c.stop()
    c.counts = ("repeated", "reordered")


def _old_session(c: Case, kind: str) -> None:
    """Frames of a session before this one, which were good then: instead of new ones."""
    drive = c.drive
    other = HostLink(c.table, Keys(*KEYS_OF_TWIN))
    old = bytes(c.rng.randbytes(8))
    lib.eg_link_open(other._link, drive.host._host_nonce, old)
    other.phase = drive.host.phase
    beside = c.rng.random() < 0.3

    def up(pieces: list[Piece]) -> list[Piece]:
        at_us = pieces[0].at_us
        other.decided(_daring(drive.number, drive.channels), drive.host_us(at_us))
        strangers = [Piece(at_us, u.data, u.kind, 0) for u in other.take()]
        return [*pieces, *strangers] if beside else strangers

    drive.up = up
    c.begin(kind)
    c.stop()
    c.counts = ("masked",)


KEYS_OF_TWIN = (bytes(range(16)), bytes(range(16, 32)))


def _daring(number: int, channels: int) -> Decision:
    """What nobody should follow: as fast as can be."""
    return Decision(number, (2**31 - 1, 2**30)[:channels]).sign((1, 2, 3, 4, 5))


def _one_old(c: Case, kind: str) -> None:
    drive, kept = c.drive, list[Piece]()
    at = c.rng.randint(3, 15)

    def up(pieces: list[Piece]) -> list[Piece]:
        kept.extend(p for p in pieces if p.kind == COMMAND)
        if len(kept) != at:
            return pieces
        return [kept[c.rng.randrange(len(kept) - 1)]._replace(at_us=pieces[0].at_us), *pieces]

    drive.up = up
    c.begin(kind)
    c.no_stop()
    c.counts = ("repeated", "reordered")


# ------------------------------------------------------------------ F13

Mutation = Callable[[Case, Piece], list[Piece]]


def flipped(rng: Random, data: bytes) -> bytes:
    """Some bits of it the other way round: single ones, or a burst."""
    bits = 8 * len(data)
    if rng.random() < 0.5:
        mask = sum(1 << b for b in rng.sample(range(bits), rng.randint(1, 6)))
    else:
        length = rng.randint(2, 32)
        mask = (1 | 1 << length - 1 | rng.getrandbits(length)) << rng.randrange(bits - length)
    return (int.from_bytes(data, "little") ^ mask).to_bytes(len(data), "little")


def _corrupted(c: Case, p: Piece) -> list[Piece]:
    return [p._replace(data=flipped(c.rng, p.data), number=0)]


def _lost(c: Case, p: Piece) -> list[Piece]:
    return []


def _repeated(c: Case, p: Piece) -> list[Piece]:
    return [p] * 2


def _truncated(c: Case, p: Piece) -> list[Piece]:
    return [p._replace(data=p.data[: c.rng.randint(3, len(p.data) - 2)], number=0)]


def _inserted(c: Case, p: Piece) -> list[Piece]:
    """Noise, or a frame of someone who does not have the key."""
    if c.rng.random() < 0.5:
        noise = bytes(c.rng.randrange(1, 256) for _ in range(c.rng.randint(4, 90)))
        return [Piece(p.at_us, b"\0" + noise + b"\0", p.kind, 0), p]
    drive = c.drive
    other = HostLink(c.table, Keys(c.rng.randbytes(16), c.rng.randbytes(16)))
    lib.eg_link_open(other._link, drive.host._host_nonce, drive.host._mcu_nonce)
    other.phase = drive.host.phase
    other._link.counter = drive.host._link.counter
    other.decided(_daring(drive.number, drive.channels), drive.host_us(p.at_us))
    return [Piece(p.at_us, other.take()[0].data, COMMAND, 0), p]


def _masqueraded(c: Case, p: Piece) -> list[Piece]:
    """The same payload under the data id of another message, with the CRC put right."""
    frame = ffi.new("uint8_t[]", lib.EG_FRAME_MAX)
    inner = p.data[1:-1]
    n = lib.eg_cobs_decode(inner, len(inner), frame, lib.EG_FRAME_MAX)
    length, counter = lib.eg_get16(frame), lib.eg_get16(frame + 2)
    kind = c.rng.choice([k for k in range(len(MESSAGES)) if k != p.kind])
    lib.eg_e2e_protect(frame, length, counter, lib.eg_message_data_id(kind))
    wire = ffi.new("uint8_t[]", lib.EG_WIRE_MAX)
    m = lib.eg_cobs_encode(frame, n, wire)
    return [p._replace(data=b"\0" + bytes(ffi.buffer(wire, m)) + b"\0", number=0)]


def _late(c: Case, p: Piece) -> list[Piece]:
    least = c.drive.judge.limits.max_age_us + 1500
    return [p._replace(at_us=p.at_us + c.rng.randint(least, 70_000))]


_CLASSES: dict[str, tuple[Mutation, tuple[str, ...]]] = {
    "corrupted": (_corrupted, ("corrupted", "forged")),
    "lost": (_lost, ("lost",)),
    "repeated": (_repeated, ("repeated",)),
    "reordered": (_lost, ("reordered", "lost")),
    "inserted": (_inserted, ("corrupted", "forged")),
    "masqueraded": (_masqueraded, ("masked", "forged")),
    "delayed": (_late, ("stale", "reordered", "lost")),
    "truncated": (_truncated, ("corrupted",)),
}


class _Proxy:
    """Spoils one frame, some, or all; of commands, or of everything."""

    def __init__(self, c: Case, name: str, share: float) -> None:
        self.name, self.share = name, share
        self._c = c
        self._left = 1 if share == 0.0 else 10**9
        self._from = c.drive.number + c.rng.randint(0, 12)
        self._commands_only = share == 1.0 or c.rng.random() < 0.5
        self._swapped: dict[int, Piece] = {}

    def __call__(self, pieces: list[Piece]) -> Iterable[Piece]:
        if self._c.drive.number < self._from:
            return pieces
        return [out for piece in pieces for out in self._one(piece)]

    def _one(self, p: Piece) -> list[Piece]:
        held = self._swapped.pop(p.kind, None)
        if held is not None:  # it comes after the one that followed it
            return [p, held._replace(at_us=p.at_us)]
        if not self._hits(p):
            return [p]
        self._left -= 1
        if self.name == "reordered":
            self._swapped[p.kind] = p
            return []
        return _CLASSES[self.name][0](self._c, p)

    def _hits(self, p: Piece) -> bool:
        if self._left <= 0 or (self._commands_only and p.kind != COMMAND):
            return False
        return self.share in {0.0, 1.0} or self._c.rng.random() < self.share


def spoilt(c: Case) -> None:
    """One frame, some, or all."""
    name = c.rng.choice(tuple(_CLASSES))
    drive = c.start()
    share = c.rng.choice((0.0, 0.0, 0.1, 0.3, 1.0))
    drive.up = _Proxy(c, name, share)
    c.begin(f"{name} {'one' if share == 0.0 else f'{share:.0%}'}")
    if share == 0.0:
        c.no_stop()
        c.counts = _CLASSES[name][1]
    elif share == 1.0:
        c.stop()
        c.counts = () if name in {"lost", "delayed"} else _CLASSES[name][1]
    c.go(12 + AFTER)


# ------------------------------------------------------------------ F14


def alternating(c: Case) -> None:
    """Good and bad commands in turn; more than 20 % bad of the last 32 must stop the vehicle."""
    drive = c.start()
    names = ("corrupted", "lost", "truncated", "masqueraded")
    name = c.rng.choice(names)
    mutate = _CLASSES[name][0]
    good, bad = c.rng.randint(1, 14), c.rng.randint(1, 4)
    at_random = c.rng.random() < 0.3
    share = c.rng.uniform(0.05, 0.9)
    at_the_turn = not c.live and c.rng.random() < 0.3
    history: list[bool] = []

    def up(pieces: list[Piece]) -> list[Piece]:
        out = []
        for p in _about_the_turn(c, pieces) if at_the_turn else pieces:
            if p.kind != COMMAND:
                out.append(p)
                continue
            n = len(history)
            spoil = c.rng.random() < share if at_random else n % (good + bad) >= good
            history.append(spoil)
            out += mutate(c, p) if spoil else [p]
        return out

    drive.up = up
    when = ", at the turn" if at_the_turn else ""
    c.begin(f"{name} {'at random' if at_random else f'{good}:{bad}'}{when}")
    must_us: int | None = None
    for _ in range(c.rng.randint(50, 90)):
        c.go(1)
        if must_us is None and too_many(history):
            must_us = drive.us
    if must_us is None:
        if _harmless(history):
            c.no_stop()
    elif drive.us > must_us + drive.patience_us:
        c.stop()
        if c.tripped_us is None or c.tripped_us > must_us + drive.patience_us:
            c.wrong(f"more than 20 % bad from {(must_us - c.onset_us) // 1000} ms on, and no stop")


def _about_the_turn(c: Case, pieces: list[Piece]) -> list[Piece]:
    """They come when the microcontroller's turn begins: two in one turn, and none in the next."""
    drive = c.drive
    late_us = drive.period_us - drive.phase_us - drive.up_us + c.rng.randint(-300, 300)
    return [p._replace(at_us=p.at_us + late_us) for p in pieces]


def too_many(history: list[bool]) -> bool:
    """More than 20 % of the last 32. What is lost is known only when the next good one comes, and
    by then up to two older ones have left the window."""
    return bool(sum(history[-(lib.EG_ERROR_WINDOW - 2) :]) > lib.EG_ERROR_WINDOW_MAX)


def _harmless(history: list[bool]) -> bool:
    """No rule of the link is broken in any window: 3 bad of 8 (E2E), more than 20 % of 32."""
    return all(
        sum(history[i : i + 8]) <= 2
        and sum(history[i : i + lib.EG_ERROR_WINDOW]) <= lib.EG_ERROR_WINDOW_MAX
        for i in range(len(history))
    )


# ------------------------------------------------------------------ F17


HARMLESS = {"zeros": 3, "answers": 3}
"""So many times too much is no fault: half of what 1 Mbit/s carries in a period of 10 ms."""
HARMLESS_IN_QEMU = {"answers": 2}
"""A byte takes 20 us there and a zero twice that: what is more fills the period."""


def _extra(c: Case, kind: str, many: int, pieces: list[Piece]) -> list[Piece]:
    """What is sent beside what should be."""
    at_us = pieces[0].at_us
    if kind == "repeats":
        return pieces * many
    if kind == "noise":
        return [Piece(at_us, c.rng.randbytes(many * 100), COMMAND, 0)]
    if kind == "zeros":
        return [Piece(at_us, bytes(many * 100), COMMAND, 0)]
    if kind == "hellos":
        return [Piece(at_us, _hello(c), lib.EG_MSG_HELLO, 0) for _ in range(many)]
    return [p for p in pieces if p.kind == ANSWER] * many if kind == "answers" else []


def babbling(c: Case) -> None:
    """Too much, too fast: nothing may starve, and nothing of it may act."""
    drive = c.start()
    kind = c.rng.choice(("ticks", "repeats", "noise", "zeros", "hellos", "answers"))
    many = c.rng.randint(2, 20)

    def up(pieces: list[Piece]) -> list[Piece]:
        extra = _extra(c, kind, many, pieces)
        before = kind != "answers" and c.rng.random() < 0.5
        return [*extra, *pieces] if before else [*pieces, *extra]

    twin = drive.twin
    before = _ran(c)
    resets = twin.resets
    drive.up = up
    c.begin(f"{kind} x{many}")
    for _ in range(AFTER):
        c.go(1)
        for i in range(many if kind == "ticks" else 0):
            drive.tick(drive.us - drive.period_us + drive.phase_us + 50 * i)
    if any(now - then != AFTER for now, then in zip(_ran(c), before, strict=True)):
        c.wrong("its loop starves")
    if twin.resets != resets:
        c.wrong("its hardware watchdog fires")
    if kind == "ticks" and many >= 4:
        c.stop()
        c.counts = ("excess",)
    elif many <= (HARMLESS_IN_QEMU if c.live else HARMLESS).get(kind, 0):
        c.no_stop()


def _ran(c: Case) -> tuple[int, ...]:
    """Turns, and strokes of its hardware watchdog. On a port it does not tell; there its own timer
    shows in the vehicle's log how late its turns came."""
    return () if c.live else (c.drive.twin.turns, c.drive.twin.strokes)


def _hello(c: Case) -> bytes:
    """The host greets again although it is armed, and never goes on."""
    host = c.drive.host
    hello = host._message("HELLO").hello
    hello.nonce = host._host_nonce
    hello.policy = host._table
    host._queue()
    return host.take()[-1].data


FAULTS = (
    Fault("F12", "stale command replayed",
          "frames delayed, stamped long ago, recorded and sent again, or of an earlier session",
          LINK, stale),
    Fault("F13", "frame spoilt on its way",
          "a proxy on the bytes corrupts, drops, repeats, swaps, inserts, delays, masquerades",
          LINK | {"ANSWER_WRONG"}, spoilt),
    Fault("F14", "good and bad frames alternate",
          "a proxy spoils commands in a pattern or at random", LINK, alternating),
    Fault("F17", "host babbles",
          "the host's loop or the wire sends up to twenty times too much",
          LINK | {"ANSWER_WRONG"}, babbling),
)  # fmt: skip
