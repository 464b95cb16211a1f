# SPDX-License-Identifier: Apache-2.0
"""How punctual a loop is: counted on every tick, in constant memory and without a float."""

from __future__ import annotations

from attrs import Factory, define

_PARTS = 8  # of each octave: a percentile is at most 1/8 above the value that it names
_SHIFT = 3
_OCTAVES = 40  # 2^40 ns are 18 minutes


@define(eq=False)
class Histogram:
    """Durations in nanoseconds, in buckets that grow by an eighth of an octave."""

    counts: list[int] = Factory(lambda: [0] * (_PARTS * _OCTAVES))
    total: int = 0
    sum_ns: int = 0
    max_ns: int = 0

    def add(self, value_ns: int) -> None:
        """Count one; what is negative counts as 0."""
        value_ns = max(value_ns, 0)
        self.counts[min(_bucket(value_ns), len(self.counts) - 1)] += 1
        self.total += 1
        self.sum_ns += value_ns
        self.max_ns = max(self.max_ns, value_ns)

    def percentile_ns(self, share: float) -> int:
        """The least upper bound of a bucket that this share of all lies below; 0 of nothing."""
        wanted, seen = share * self.total, 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return min(_end_ns(bucket), self.max_ns)
        return self.max_ns

    def octaves(self, first: int, last: int) -> list[tuple[int, int]]:
        """(2^k, how many lie below 2^k ns) for k from first to last."""
        below, found = 0, []
        for bucket, count in enumerate(self.counts):
            below += count
            end_ns = _end_ns(bucket)
            if end_ns & (end_ns - 1) == 0 and first <= end_ns.bit_length() - 1 <= last:
                found.append((end_ns, below))
        return found


def _bucket(value_ns: int) -> int:
    """Values below 8 ns have a bucket each; above, the octave and its first three bits."""
    octave = max(value_ns.bit_length() - _SHIFT - 1, 0)
    return octave * _PARTS + (value_ns >> octave)


def _end_ns(bucket: int) -> int:
    """The first value above a bucket."""
    octave = max(bucket // _PARTS - 1, 0)
    return (bucket - octave * _PARTS + 1) << octave


@define(eq=False)
class Timing:
    """Of a loop with this period: how late it woke up, how long a tick took, what it missed."""

    period_ns: int
    late: Histogram = Factory(Histogram)  # from the deadline to the first instruction after it
    decision: Histogram = Factory(Histogram)  # signals in, command out
    tick: Histogram = Factory(Histogram)  # all of a turn: a frame if there is one, that, who watch
    overruns: int = 0  # ticks that ended after the next deadline
    skipped: int = 0  # deadlines that passed without a tick because of them

    def lines(self) -> list[str]:
        """What a person is told at the end."""
        named = ("decision", self.decision), ("tick", self.tick), ("wake-up late by", self.late)
        lines = [f"{name}: {_figures(found)}" for name, found in named if found.total]
        if self.late.total:
            lines.append(f"overruns: {self.overruns} of {self.tick.total}, skipped {self.skipped}")
        return lines


def _figures(found: Histogram) -> str:
    named = ("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)
    told = [f"{name} {found.percentile_ns(share) / 1e3:.0f}" for name, share in named]
    return ", ".join([*told, f"max {found.max_ns / 1e3:.0f} us"])
