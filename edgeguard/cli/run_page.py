# SPDX-License-Identifier: Apache-2.0
"""`edgeguard run --page`: the telemetry process beside a loop."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable
from pathlib import Path

import click
from attrs import frozen

from edgeguard.config import GuardConfig, load_cards
from edgeguard.config.load import token_file as named_token
from edgeguard.errors import EdgeguardError
from edgeguard.guard import Guard
from edgeguard.loop import Loop
from edgeguard.output.telemetry import Feed, Process, Requests, read_token
from edgeguard.output.telemetry.operator import Commanded


@frozen
class Access:
    """Where the page is served, and with which token a person may ask for something."""

    host: str
    port: int
    token: str | None


def access(config: GuardConfig, given: str | None, token_file: Path | None) -> Access | None:
    """None without --page. Raises EdgeguardError for what is wrong with it."""
    if given is None:
        if token_file is not None:
            raise EdgeguardError("--token-file: is for the page; add --page")
        return None
    host, port = _address(given) if given else (config.telemetry.host, config.telemetry.port)
    file = token_file or named_token(config)
    token = read_token(file) if file else None
    if token and not _is_loopback(host):
        click.echo(
            f"--page {host}: others can listen there, so nobody can re-arm on it; see"
            " docs/telemetry.md",
            err=True,
        )
        token = None
    return Access(host, port, token)


def _address(given: str) -> tuple[str, int]:
    host, _, port = given.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise EdgeguardError(f"--page {given}: want HOST:PORT, for instance 127.0.0.1:9464")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def attach(
    access: Access, loop: Loop, guard: Guard, commanded: Commanded, camera: str,
    stack: contextlib.ExitStack,
) -> Callable[[], list[str]]:  # fmt: skip
    """Start the process and let it watch the loop. Returns what is told at the end."""
    config = guard.config
    may = access.token is not None
    hello = {
        "policy": config.guard.name,
        "disclosure": config.telemetry.disclosure,
        "channels": {name: channel.unit for name, channel in config.channels.items()},
        "controls": {"rearm": may and config.rearm is not None, "takeover": may},
    }
    process = Process(access.host, access.port, hello)
    stack.callback(process.close)
    requests = Requests(process, commanded) if may else None
    loop.operators += [requests] if requests else []
    feed = Feed(process, guard, load_cards(config), camera, loop.timing, requests)
    loop.watchers.append(feed)
    at = f"[{access.host}]" if ":" in access.host else access.host
    click.echo(f"page: http://{at}:{access.port}/", err=True)
    return feed.lines
