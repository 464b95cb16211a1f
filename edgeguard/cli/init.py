# SPDX-License-Identifier: Apache-2.0
"""`edgeguard init`: from anybody's classifier to a card, golden vectors and a guard.toml."""

from __future__ import annotations

import filecmp
import hashlib
import json
import multiprocessing
import re
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from string import Template
from typing import Any

import attrs
import click
import numpy as np

from edgeguard import config
from edgeguard.card import SUFFIX, Card
from edgeguard.cli.new_card import PIXELS, Wishes, new_card
from edgeguard.cli.pictures import tensors
from edgeguard.errors import ConfigError, EdgeguardError, in_words
from edgeguard.inference.golden import answers, record
from edgeguard.inference.model import inspect_model, load_model, open_model
from edgeguard.labels import read_labels
from edgeguard.written import together

GOLDEN_PICTURES = 8
SHOWN_LABELS = 60
TRIALS = 20
DEADLINES_MS = (25, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


def _size(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no size; write for example 224x224")
    return int(found[1]), int(found[2])


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--images",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Pictures of the kind that the model will see; up to 8 become golden vectors.",
)
@click.option(
    "--labels",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="One class a line in the order of the scores, or JSON.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to write; the model is copied there. Default: the model's own folder.",
)
@click.option(
    "--size", callback=_size, metavar="HxW", help="Picture size, for a model that takes any."
)
@click.option("--pixels", type=click.Choice(list(PIXELS)), help="What the input's numbers mean.")
@click.option("--colour", type=click.Choice(["RGB", "BGR", "GRAY"]), help="Order of the channels.")
@click.option("--scores", metavar="NAME", help="The output with the scores, where several fit.")
@click.option("--force", is_flag=True, help="Overwrite what an earlier init wrote.")
def command(
    model: Path, *, images: Path, labels: Path, out: Path | None, force: bool, **wishes: Any
) -> None:
    """Write card, golden vectors and a guard.toml for MODEL, an ONNX or TFLite classifier.

    Nothing is written unless all of it is; exit code 2 and a sentence if MODEL cannot be guarded.
    """
    out = model.parent if out is None else out
    names = read_labels(labels)
    _free(model, out, force)
    spec = _apart(inspect_model, model)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    card, assumed = new_card(model, digest, spec, names, Wishes(**wishes))
    inputs = tensors(images, GOLDEN_PICTURES, card.input)
    with tempfile.TemporaryDirectory(prefix="edgeguard-init-") as folder:
        made = Path(folder)
        try:
            shutil.copyfile(model, made / model.name)
            card, run_ms = _apart(_golden, attrs.evolve(card, directory=made), inputs)
            _write(made, card, run_ms)
        except EdgeguardError as error:  # name the user's file, not our copy
            raise ConfigError(str(error).replace(str(made), str(model.parent))) from None
        written = _publish(made, model, out)
    _tell(card, assumed, written, out)


def _shared(names: tuple[str, ...]) -> list[str]:
    """Labels of several classes, as ImageNet has some: guard.toml, which goes by labels, cannot
    tell these apart."""
    return [name for name, n in Counter(names).items() if n > 1]


def _targets(model: Path, out: Path) -> list[Path]:
    return [out / f"{model.stem}{SUFFIX}", out / f"{model.stem}.golden.npz", out / "guard.toml"]


def _free(model: Path, out: Path, force: bool) -> None:
    try:
        model.name.encode()
    except UnicodeEncodeError:  # bytes of a file system, which no TOML can hold
        raise ConfigError(
            f"{str(model)!r}: its name is not UTF-8, and guard.toml has to name it; rename it"
        ) from None
    if not model.is_file():
        raise ConfigError(f"{model}: no such file")
    copy = out / model.name
    there = [copy] if copy.exists() and not filecmp.cmp(copy, model, shallow=False) else []
    there += [path for path in _targets(model, out) if path.exists()]
    if there and not force:
        said = f"{there[0]}: exists; --force overwrites it, --out DIR writes elsewhere"
        if there[0].name == "guard.toml":  # of another model in the same folder
            said += f'; to add {model.name} to it: "A second member" in docs/card.md'
        raise ConfigError(said)


def _apart(work: Callable[..., Any], *args: Any) -> Any:
    """Run in a child process: a file that crashes its runtime takes nothing with it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(theirs, work, args))
    try:
        with _deaf_to_ctrl_c():
            child.start()
        theirs.close()
        made, error = ours.recv()
    except (EOFError, OSError):  # before it answered, or in the middle of that
        raise ConfigError(
            f"{_name(args[0])}: the runtime crashed on it, so it cannot be guarded here"
        ) from None
    finally:
        if child.pid is not None:
            child.kill()
            child.join()
    if error is not None:
        raise error
    return made


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """For who starts a child: a terminal sends Ctrl-C to the whole group, and the child, which
    imports first, shall not hear it. Here it counts afterwards: in the middle of a start the child
    would be told half of what it needs. A mask alone does not hold it up, as other threads hear it
    too; what starts with the first child lifts the mask, so that is started before."""
    resource_tracker.ensure_running()
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append(signal.SIGINT))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
    if heard and callable(before):
        before(signal.SIGINT, None)


def _answer(said: Connection, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """In the child: what it made, or why not."""
    try:
        said.send((work(*args), None))
    except EdgeguardError as error:
        said.send((None, error))
    except Exception as error:  # of a kind that need not survive the way
        said.send((None, EdgeguardError(f"{_name(args[0])}: {in_words(error)}")))


def _name(given: Any) -> Path:
    return Path(given.file) if isinstance(given, Card) else Path(given)


def _golden(card: Card, inputs: Any) -> tuple[Card, float]:
    """In the child: what the scores are, golden vectors, and loading it as a guard would."""
    model = open_model(card)
    try:
        card = _with_kind(card, answers(model, inputs))
        model.card = card
        golden = record(model, inputs, card.directory / f"{Path(card.file).stem}.golden.npz")
        started = time.perf_counter()
        for _ in range(TRIALS):
            model.run()
        run_ms = (time.perf_counter() - started) / TRIALS * 1000
    finally:
        model.close()
    card = attrs.evolve(card, golden=golden)
    load_model(card).close()
    return card, run_ms


def _with_kind(card: Card, raw: Any) -> Card:
    """Scores that lie in [0, 1] and sum to 1 on every picture are probabilities."""
    scores = card.scores
    real = raw.astype(np.float64)
    if scores.dtype != "float32":
        real = scores.scale * (real - scores.zero_point)
    slack = scores.scale * scores.size / 2 + 0.01
    inside = bool(np.all((real >= -1e-6) & (real <= 1 + 1e-6)))
    if scores.kind == "probabilities" or not inside or np.any(abs(real.sum(1) - 1) > slack):
        return card
    rest = (output for output in card.outputs if output is not scores)
    return attrs.evolve(card, outputs=(attrs.evolve(scores, kind="probabilities"), *rest))


def _write(made: Path, card: Card, run_ms: float) -> None:
    """Card and guard.toml beside the golden vectors; then read them as a guard would."""
    card.save(made / f"{Path(card.file).stem}{SUFFIX}")
    deadline_ms = next((t for t in DEADLINES_MS if t >= 5 * run_ms), DEADLINES_MS[-1])
    template = Path(__file__).with_name("guard_template.toml").read_text(encoding="utf-8")
    text = Template(template).substitute(
        name=_plain(card.name),
        member=_plain(card.name),
        file=_quoted(card.file),
        runtime=card.runtime,
        run_ms=f"{run_ms:.2g}",
        deadline=f"{deadline_ms:<23}",
        max_age=f"{max(300, 2 * deadline_ms):<24}",
        means=_means(card.labels),
    )
    (made / "guard.toml").write_text(text, encoding="utf-8")
    # its certainties are guesses; one that this model cannot say is for the user to change
    config.load(made / "guard.toml", calibrated=False, files=True)


def _plain(name: str) -> str:
    """A table name out of a file name."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)[:30]
    return kept if kept[:1].isalpha() and kept != "front" else f"m_{kept}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _means(labels: tuple[str, ...]) -> str:
    shared = set(_shared(labels))
    lines = [
        f'# "{_quoted(label)}" = 1.0' + ("  # of several classes" if label in shared else "")
        for label in dict.fromkeys(labels[:SHOWN_LABELS])
    ]
    if len(labels) > SHOWN_LABELS:
        lines.append(f"# ... and {len(labels) - SHOWN_LABELS} more: see `labels` in the card")
    return "\n".join(lines)


def _publish(made: Path, model: Path, out: Path) -> list[Path]:
    """Move what was made to its place, all of it or nothing, guard.toml last."""
    copy = out / model.name
    own = copy.exists() and copy.samefile(model)
    written = [*([] if own else [copy]), *_targets(model, out)]
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        together({path: (made / path.name).read_bytes() for path in written})
    except BaseException as error:  # an interrupt as well
        with suppress(OSError):
            for folder in new:
                folder.rmdir()
        if not isinstance(error, OSError):
            raise
        raise ConfigError(
            f"{out}: cannot be written: {error.strerror}; --out DIR writes elsewhere"
        ) from None
    return written


def _tell(card: Card, assumed: list[str], written: list[Path], out: Path) -> None:
    for path in written:
        click.echo(f"wrote {path}")
    click.echo(
        f"{card.file}: {card.scores.size} classes, {card.scores.kind}, input {card.input.dtype}"
        f" {'x'.join(map(str, card.input.size))} {card.input.colour}"
    )
    for text in assumed:
        click.echo(f"assumed: {text}")
    for label in _shared(card.labels):
        click.echo(
            f'note: "{label}" is the label of several classes, so none of them can be given a'
            " meaning of its own: rename them in the labels and run init --force again"
        )
    click.echo(f"next: fill in what each class means, then: edgeguard check {out / 'guard.toml'}")
