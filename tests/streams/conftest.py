# SPDX-License-Identifier: Apache-2.0
"""The shipped stream, guards for it, and a short stretch on which a fault has consequences."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgeguard.config import GuardConfig, load
from edgeguard.guard import Guard
from edgeguard.streams.bare import Bare
from edgeguard.streams.drive import in_process
from edgeguard.streams.stream import SignStream
from edgeguard.streams.stream import load as load_stream
from edgeguard.zoo import models_dir


@pytest.fixture(scope="session")
def stream() -> SignStream:
    return load_stream(models_dir() / "stream.npz")


@pytest.fixture(scope="session")
def policy() -> GuardConfig:
    return load(models_dir() / "guard.toml")


@pytest.fixture(scope="session")
def down_to_fifty(stream: SignStream) -> SignStream:
    """At 60 km/h past a warning sign, then 50: who misses the second sign is too fast after 6 s."""
    return stream.pick((18, 27), (2, 70), (25, 3), (11, 8), limit_kmh=60)


@pytest.fixture
def guard(policy: GuardConfig) -> Iterator[Guard]:
    """The shipped policy with its members in this process."""
    with Guard(in_process(policy)) as guard:
        yield guard


@pytest.fixture
def apart(policy: GuardConfig) -> Iterator[Guard]:
    """The shipped policy: each member in its own process."""
    with Guard(policy) as guard:
        yield guard


@pytest.fixture
def bare(policy: GuardConfig) -> Iterator[Bare]:
    """What would happen without a guard."""
    bare = Bare(in_process(policy))
    yield bare
    bare.close()
