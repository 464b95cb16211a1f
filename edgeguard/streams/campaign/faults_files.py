# SPDX-License-Identifier: Apache-2.0
"""Files that are not what they should be: F08, F26. The guard does not arm and says which it is."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import evolve

from edgeguard.config import load
from edgeguard.config.cards import card_of, model_path
from edgeguard.config.schema import Member
from edgeguard.errors import EdgeguardError
from edgeguard.guard import Guard
from edgeguard.streams.campaign.case import Case
from edgeguard.streams.campaign.fault import Fault


@contextmanager
def _copied(c: Case) -> Iterator[Path]:
    """The folder of guard.toml with everything in it, to be spoilt."""
    with tempfile.TemporaryDirectory(prefix="edgeguard-inject-") as folder:
        made = Path(folder) / "policy"
        ignored = shutil.ignore_patterns("stream.npz", "*.float.*", "__pycache__")
        shutil.copytree(c.config.source.parent, made, ignore=ignored)
        yield made / c.config.source.name


def _refused(c: Case, policy: Path, want: str) -> None:
    """Loading and arming must end in an error of ours that names what is wrong."""
    try:
        config = load(policy)
        members = {n: evolve(m, isolation="none") for n, m in config.members.items()}
        with Guard(evolve(config, members=members)) as guard:
            guard.arm()
    except EdgeguardError as error:
        c.named = re.search(want, str(error)) is not None
        if not c.named:
            c.notes.append(f"refused, but says: {str(error).splitlines()[0]}")
    except Exception as error:  # that is what is looked for
        c.wrong(f"{type(error).__name__}: {error}")
    else:
        c.wrong("arms")


ACCELERATORS = {"onnx": ("providers", "AzureExecutionProvider"),
                "litert": ("delegates", "libno_such_delegate.so")}  # fmt: skip
"""By runtime: one that is offered and runs no model here, so that another takes its place; none."""


def wrong_model(c: Case) -> None:
    """A model file with other bytes, cut short, empty, gone, or another model's under its name; or
    the right one on something else than was asked for."""
    names = [n for n, m in c.config.members.items() if m.runtime != "external"]
    if not names:
        c.kind = "no model files"
        return
    with _copied(c) as policy:
        config = load(policy)
        name = c.rng.choice(names)
        card = card_of(policy, config.members[name])
        file = model_path(policy, config.members[name], card)
        kinds = ("bytes", "cut", "empty", "gone", "swapped", "swapped with its hash", "accelerator")
        c.kind, want = c.rng.choice(kinds), re.escape(file.name)
        if c.kind == "accelerator":
            want += f": .*{re.escape(_accelerate(config.members[name], name, policy))}"
        elif c.kind == "gone":
            file.unlink()
        elif c.kind.startswith("swapped"):
            _swap(c, policy, name, file, adjusted=c.kind != "swapped")
        else:
            _spoil(c, file)
        _refused(c, policy, want)


def _accelerate(member: Member, name: str, policy: Path) -> str:
    """Ask for something that does not run here; returns what."""
    key, asked = ACCELERATORS["onnx" if member.runtime == "onnx" else "litert"]
    lines = policy.read_text(encoding="utf-8").splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"[member.{name}]"))
    policy.write_text("\n".join([*lines[: at + 1], f'{key} = ["{asked}"]', *lines[at + 1 :]]))
    return asked


def _spoil(c: Case, file: Path) -> None:
    """Some bits, or its end, or all of it."""
    data = bytearray(file.read_bytes())
    if c.kind == "bytes":
        for _ in range(c.rng.randint(1, 8)):
            data[c.rng.randrange(len(data))] ^= 1 << c.rng.randrange(8)
    keep = {"cut": c.rng.randrange(1, len(data)), "empty": 0}.get(c.kind, len(data))
    spoilt = bytes(data[:keep])
    if spoilt == file.read_bytes():
        spoilt += b"\0"
    file.write_bytes(spoilt)


def _swap(c: Case, policy: Path, name: str, file: Path, adjusted: bool) -> None:
    """Another file of the same kind takes its place; whoever did it may have set the hash, too."""
    others = [f for f in file.parent.glob(f"*{file.suffix}") if f != file]
    if others:
        other = c.rng.choice(others).read_bytes()
    else:  # nothing to swap it with: the same file with its second half mirrored
        data = file.read_bytes()
        other = data[: len(data) // 2] + data[: len(data) // 2 - 1 : -1]
    file.write_bytes(other)
    if adjusted:
        card = file.with_name(file.name.partition(".")[0] + ".card.json")
        said = json.loads(card.read_text(encoding="utf-8"))
        said["sha256"] = hashlib.sha256(other).hexdigest()
        card.write_text(json.dumps(said), encoding="utf-8")


NUMBER = re.compile(r"^(\s*\w+\s*=\s*)(-?\d+(?:\.\d+)?)(\s*(?:#.*)?)$")
KEY = re.compile(r"^(\w+)\s*=")
TABLE = re.compile(r"^\[([\w.]+)\]")
REQUIRED = ("deadline_ms", "max_age_ms", "may_suggest", "rate_hz", "period_ms", "range", "rise",
            "fall", "stop", "unit", "fallback", "raise", "lower")  # fmt: skip
Spoil = Callable[[Case, list[str]], tuple[int, str]]
"""Changes the lines; returns which line (from 1; 0: the table's) and which key must be named."""


def _some(c: Case, lines: list[str], fits: Callable[[str], bool]) -> int:
    return c.rng.choice([i for i, line in enumerate(lines) if fits(line)])


def _unknown_key(c: Case, lines: list[str]) -> tuple[int, str]:
    at = _some(c, lines, lambda line: bool(TABLE.match(line)) and ".means" not in line)
    key = c.rng.choice(("perod_ms", "max_age", "certanty", "deadline"))
    lines.insert(at + 1, f"{key} = 1.0")
    return at + 2, key


def _missing(c: Case, lines: list[str]) -> tuple[int, str]:
    at = _some(c, lines, lambda line: (KEY.match(line) or [""])[0].split(" ")[0] in REQUIRED)
    key = lines.pop(at).split(" ")[0]
    return 0, key


def _not_a_number(c: Case, lines: list[str]) -> tuple[int, str]:
    at = _some(c, lines, lambda line: bool(NUMBER.match(line)))
    found = NUMBER.match(lines[at])
    assert found is not None
    value = c.rng.choice(("nan", "inf", "-inf", '"fast"', "true", "[1.0]", "-1e30", "1e30"))
    lines[at] = f"{found[1]}{value}{found[3]}"
    return at + 1, found[1].split("=")[0].strip()


def _unit(c: Case, lines: list[str]) -> tuple[int, str]:
    at = _some(c, lines, lambda line: line.startswith("unit"))
    lines[at] = f'unit = "{c.rng.choice(("parsec", "m/s/s", "kmh", "M/S", ""))}"'
    return at + 1, "unit"


SPOILS: tuple[Spoil, ...] = (_unknown_key, _missing, _not_a_number, _unit)


def wrong_policy(c: Case) -> None:
    """guard.toml with a missing limit, an unknown key, a wrong unit, or what is no number."""
    lines = c.config.source.read_text(encoding="utf-8").splitlines()
    spoil = c.rng.choice(SPOILS)
    line, key = spoil(c, lines)
    c.kind = spoil.__name__.strip("_").replace("_", " ")
    with _copied(c) as policy:
        policy.write_text("\n".join(lines) + "\n", encoding="utf-8")
        at = rf":{line}:" if line else r":\d+:"
        _refused(c, policy, rf"{re.escape(policy.name)}{at}[^\n]*\b{key}\b")


FAULTS = (
    Fault("F08", "wrong model file", "bits, length, or the whole file changed before arming; an "
          "accelerator that does not run it",
          frozenset(), wrong_model, most=300),
    Fault("F26", "wrong guard.toml", "limits missing, unknown keys and units, no numbers",
          frozenset(), wrong_policy, most=300),
)  # fmt: skip
