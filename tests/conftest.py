# SPDX-License-Identifier: Apache-2.0
"""In CI nothing is skipped but what that machine cannot have; what needs the machine for itself,
because a real clock decides (`pytest.mark.alone`), gets it.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Generator

import pytest

from tests import beside

# The data set and the models of strangers; what the kernel or the processor does not do; packages
# that have an environment of their own, or exist for a Raspberry Pi only.
EXCUSED = re.compile(
    r"EDGEGUARD_DATA|no models in|no /|Landlock|seccomp|32-bit|root|SIMD|no such provider"
    r"|environment of its own|picamera2|no release for this Python"
)


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a shell that runs this behind it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    beside.share(config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    with beside.turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With EDGEGUARD_CI set, a test that was skipped for another reason is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("EDGEGUARD_CI") or reporter is None:
        return
    reasons = [(r.nodeid, str(r.longrepr[2])) for r in reporter.stats.get("skipped", [])]
    wrong = [(test, why) for test, why in reasons if not EXCUSED.search(why)]
    reporter.write_line(f"\n{len(reasons)} skipped, {len(wrong)} of them without an excuse")
    for test, why in wrong:
        reporter.write_line(f"SKIPPED {test}: {why}")
    if wrong and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
