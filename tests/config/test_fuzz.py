# SPDX-License-Identifier: Apache-2.0
"""Whatever a file holds: a ConfigError with its name, or a policy that the core takes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgeguard import _core, config
from edgeguard.errors import ConfigError

FULL = Path(__file__).with_name("full")
TEXT = (FULL / "guard.toml").read_text()
CUTS = st.integers(0, len(TEXT))
BITS = st.sampled_from(["=", "[", "]", '"', "nan", "-1", "0", "{", "}", ",", "\n", "1e999", "é",
                        "[x]\n", "fall = 1\n", "\x00", "'''", '"""', "0x7" + "f" * 40])  # fmt: skip
FEW = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(FULL, tmp_path_factory.mktemp("fuzz") / "full")) / "guard.toml"


def only_config_errors(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        cfg = config.load(file)
        policy = config.policy_dict(cfg, config.load_cards(cfg))
    except ConfigError as error:
        assert all(line.startswith(str(file)) for line in str(error).splitlines()), str(error)
        return
    _core.Policy(policy)


@FEW
@given(st.binary(max_size=200))
def test_any_bytes(file: Path, content: bytes) -> None:
    only_config_errors(file, content)


@FEW
@given(st.text(max_size=200))
@example("member = [1]\ncamera = 'x'\n[[channel]]\n")
@example("[camera]\n'\\u0000' = {}\n[guard]\nperiod_ms = 10\nname = 'x'")
@example("[member.'']\n[member.\"\\n\"]\n")
def test_any_text(file: Path, content: str) -> None:
    only_config_errors(file, content.encode("utf-8", "surrogatepass"))


@FEW
@given(CUTS, CUTS, BITS)
def test_the_example_with_a_piece_cut_out_and_another_put_in(
    file: Path, start: int, end: int, bit: str
) -> None:
    start, end = min(start, end), max(start, end)
    only_config_errors(file, (TEXT[:start] + bit + TEXT[end:]).encode())


@FEW
@given(st.integers(0, TEXT.count("\n")), st.integers(0, TEXT.count("\n")))
def test_the_example_with_a_line_moved(file: Path, source: int, target: int) -> None:
    lines = TEXT.splitlines(keepends=True)
    lines.insert(target, lines.pop(source) if source < len(lines) else "\n")
    only_config_errors(file, "".join(lines).encode())
