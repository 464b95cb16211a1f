# SPDX-License-Identifier: Apache-2.0
"""Numbers on a command line: none is NaN, endless, or a time that no clock can hold."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from edgeguard.cli.main import cli
from edgeguard.cli.numbers import MOST_S, Finite


def options(
    command: click.Command, ctx: click.Context, called: str = "edgeguard"
) -> Iterator[tuple[str, click.Parameter]]:
    """All options of a command and of those below it, each with the command's name."""
    yield from ((called, option) for option in command.params)
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            assert found is not None
            yield from options(found, ctx, name)


KINDS = (click.types.FloatParamType, click.FloatRange)
FLOATS = [(n, o) for n, o in options(cli, click.Context(cli)) if isinstance(o.type, KINDS)]
TIMES = [(n, o) for n, o in FLOATS if o.name in ("seconds", "milp_s")]


@pytest.mark.parametrize(("command", "option"), FLOATS, ids=[f"{n}-{o.name}" for n, o in FLOATS])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_every_option_that_is_a_float_is_finite(
    command: str, option: click.Parameter, value: str
) -> None:
    assert isinstance(option.type, Finite), command
    with pytest.raises(click.BadParameter):
        option.type.convert(value, option, None)


def test_a_time_is_no_longer_than_a_clock_can_hold() -> None:
    assert sorted(name for name, _ in TIMES) == ["demo", "monitor", "run", "verify"]
    assert int(MOST_S * 1e9) < 2**62
    for _, option in TIMES:
        assert option.type.convert("30", option, None) == 30.0
        with pytest.raises(click.BadParameter, match="is not in the range"):
            option.type.convert("1.1e9", option, None)
