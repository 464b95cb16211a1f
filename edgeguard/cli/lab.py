# SPDX-License-Identifier: Apache-2.0
"""`edgeguard lab`: train and evaluate, on a desktop. The lab itself is imported when it runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click.core import ParameterSource

from edgeguard.bundle.file import MOST_VERSION, one_word
from edgeguard.cli import lab_attack, lab_defend, lab_patch, lab_shield, lab_verify
from edgeguard.errors import EdgeguardError
from edgeguard.written import apart
from edgeguard.zoo import models_dir

MEMBERS = {"gtsrb": ("plain", "compact", "robust"), "drive": ("grey", "colour", "hard")}
zoo = click.Choice(["gtsrb"])
data_dir = click.option(
    "--data-dir", help="Folder that holds gtsrb/; default: $EDGEGUARD_DATA, then ../shared/data."
)


@click.group(epilog="Needs the extra: pip install 'edgeguard-monitor[lab]'.")
def command() -> None:
    """Train, attack, defend, verify and evaluate models (needs the extra `lab`)."""


command.add_command(lab_attack.attack, "attack")
command.add_command(lab_defend.defend, "defend")
command.add_command(lab_verify.command, "verify")
command.add_command(lab_shield.command, "shield")
command.add_command(lab_patch.command, "patch")


EVALUATED = {
    "gtsrb": ("data", "data_dir", "quick", "json_file"),
    "gtsrb --ood": ("data_dir", "strange", "json_file"),
    "gtsrb --near": ("data_dir", "strange", "quick", "json_file"),
    "can": ("data_dir", "json_file"),
    "techniques": ("member",),
}
"""The options that each takes."""


def _refuse_others(asked: str) -> None:
    """Raises UsageError for an option that would change nothing."""
    ctx = click.get_current_context()
    for option in ctx.command.params:
        given = ctx.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and isinstance(option, click.Option) and option.name not in EVALUATED[asked]:
            raise click.UsageError(f"{asked} takes no {option.opts[0]}")


@command.command()
@click.argument("name", type=click.Choice(["gtsrb", "can", "techniques"]))
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[RESULTS.json]...")
@click.option("--data", metavar="FILE.npz", help="Images to report on: x [N,32,32,3] uint8, y [N].")
@data_dir
@click.option("--quick", is_flag=True, help="Attack 100 images in place of 1,000.")
@click.option("--ood", "strange", flag_value="--ood",
              help="Of gtsrb: the embedding detectors of ood.toml instead.")  # fmt: skip
@click.option("--near", "strange", flag_value="--near",
              help="Of gtsrb: signs that a model never saw instead; trains five.")  # fmt: skip
@click.option("--member", help="Of techniques: on whom.  [default: plain]")
@click.option("--json", "json_file", metavar="FILE", help="Write the figures as JSON.")
def evaluate(
    name: str, files: tuple[Path, ...], data: str | None, data_dir: str | None, quick: bool,
    strange: str | None, member: str | None, json_file: str | None,
) -> None:  # fmt: skip
    """Print accuracy, robustness and the vote of the shipped models against their bars; for "can",
    what is found of attacks on a car's bus; for "techniques", each attack and defence at its stage
    of a model's life, with what the results files say of it.

    Exits 1 and names the bar when one does not hold.
    An option that what is asked for does not take is refused.
    """
    _refuse_others(f"{name} {strange}" if strange and name == "gtsrb" else name)
    if files and name != "techniques":
        raise click.UsageError(f"{name} takes no results files; meant: techniques {files[0]}")
    if name == "techniques":
        from edgeguard.lab import techniques

        if not files:
            raise click.UsageError("techniques: name results files, which --json writes")
        return techniques.evaluate(files, member)
    if name == "can":
        from edgeguard.lab.zoo.can import evaluate as run_can

        sys.exit(run_can(data_dir, json_file))
    if strange:
        _strange_pictures(strange == "--near", data_dir, quick, json_file)
    from edgeguard.lab.zoo.evaluate import evaluate as run

    n_pgd = 100 if quick else 1000
    sys.exit(run(data_dir, n_pgd=n_pgd, json=json_file, file=data, models=models_dir(name)))


def _strange_pictures(near: bool, data_dir: str | None, quick: bool, json_file: str | None) -> None:
    """What is no sign, or a sign that the model was never shown."""
    from edgeguard.lab.zoo import near as unseen
    from edgeguard.lab.zoo import ood as far

    models = models_dir("gtsrb")
    try:
        if near:
            sys.exit(unseen.evaluate(data_dir, models, quick, json_file))
        sys.exit(far.evaluate(data_dir, models, json_file))
    except FileNotFoundError as error:
        raise EdgeguardError(str(error)) from None


@command.command()
@click.argument("name", type=click.Choice(list(MEMBERS)))
@click.argument("members", type=click.Choice([*MEMBERS["gtsrb"], *MEMBERS["drive"]]), nargs=-1)
@data_dir
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--out", type=click.Path(path_type=Path), help="Default: models/NAME.")
def train(
    name: str, members: tuple[str, ...], data_dir: str | None, epochs: int | None, out: Path | None
) -> None:
    """Train, quantize and describe members of the shipped zoo again, all or those named.

    `compact` and `colour` need the extra `lab-tflite` as well.
    """
    stranger = next((m for m in members if m not in MEMBERS[name]), None)
    if stranger:
        raise EdgeguardError(f"{stranger}: is no member of {name}; want {', '.join(MEMBERS[name])}")
    folder = out or Path("models") / name
    if name == "drive":
        from edgeguard.lab.drive.make import EPOCHS, make

        make(members or MEMBERS[name], Path(".zoo/drive"), folder, epochs or EPOCHS)
        return
    from edgeguard.lab.zoo.data import data_root
    from edgeguard.lab.zoo.make import train as run

    try:
        root = data_root(data_dir)
    except FileNotFoundError as error:
        raise EdgeguardError(str(error)) from None
    for member in members or MEMBERS[name]:
        run(member, root, folder, epochs)


@command.command()
@click.argument("name", type=zoo)
@data_dir
@click.option(
    "--models", type=click.Path(path_type=Path), default=Path("models/gtsrb"), show_default=True
)
@click.option("--out", type=click.Path(path_type=Path), help="Default: stream.npz there.")
def stream(name: str, data_dir: str | None, models: Path, out: Path | None) -> None:
    """Build the demo's stream again: reserved tracks, and the attacks on them.

    Freeze guard.toml first: the file holds its SHA-256.
    """
    from edgeguard.lab.zoo.stream import build

    try:
        build(data_dir, models, out or models / "stream.npz")
    except FileNotFoundError as error:
        raise EdgeguardError(str(error)) from None


@command.command()
@click.argument("policy", type=click.Path(path_type=Path, dir_okay=False), metavar="GUARD.TOML")
@click.option("--key", required=True, type=click.Path(path_type=Path, dir_okay=False),
              metavar="FILE.pem", help="Signs it; see `edgeguard bundle key`.")  # fmt: skip
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--name", help="What it is called on the machines.  [default: the guard's name]")
@click.option("--version", required=True, type=click.IntRange(1, MOST_VERSION),
              help="Must rise: a machine that ran a newer one refuses this.")  # fmt: skip
@click.option("--results", multiple=True, type=click.Path(path_type=Path, exists=True),
              metavar="FILE.json", help="Figures that belong to it.")  # fmt: skip
@click.option("--seed", type=int, help="Of the training, for the record.")
def export(
    policy: Path, key: Path, out: Path, name: str | None, version: int, results: tuple[Path, ...],
    seed: int | None,
) -> None:  # fmt: skip
    """Put GUARD.TOML and everything that it names into one signed bundle."""
    from edgeguard.bundle import SUFFIX
    from edgeguard.config import load
    from edgeguard.config.load import files_read, own_code
    from edgeguard.lab.export import export as run
    from edgeguard.lab.export import read_private

    loaded = load(policy)
    if out.suffix != SUFFIX:
        raise EdgeguardError(f"--out {out}: want a name that ends in {SUFFIX}; no other is opened")
    apart("--out", out, key, *results, *files_read(loaded))
    called = loaded.guard.name if name is None else name
    if name is None and not one_word(called):
        raise EdgeguardError(
            f"{policy}: [guard] name is {called!r}, and a bundle is called by one word of printable"
            " ASCII; give one with --name"
        )
    manifest = run(policy, out, read_private(key), name=called, version=version,
                   results=results, seed=seed)  # fmt: skip
    size = out.stat().st_size
    click.echo(f"{out}: {called} version {version}, {len(manifest.parts)} parts, {size:,} bytes")
    for channel, code in own_code(loaded).items():
        said = f"not in it, and not signed: {code}, the rule of {channel}, which is Python code"
        click.echo(said, err=True)


@command.command()
@click.argument("policy", type=click.Path(path_type=Path, dir_okay=False), metavar="[GUARD.TOML]",
                required=False)  # fmt: skip
@click.option("--n", "many", type=click.IntRange(min=1), default=16_600, show_default=True,
              help="Flips of each model.")  # fmt: skip
@click.option("--member", "only", multiple=True, metavar="NAME",
              help="Flip this one alone; of others what is there counts. Repeatable.")  # fmt: skip
@click.option("--quick", is_flag=True, help="100 of each.")
@click.option("--seed", default=0, show_default=True)
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              default=Path("edgeguard-inject"), show_default=True,
              help="Every flip, a line each; what is there is not made again.")  # fmt: skip
@click.option("--json", "json_to", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the figures.")  # fmt: skip
def flips(
    policy: Path | None, many: int, only: tuple[str, ...], quick: bool, seed: int, jobs: int,
    results: Path, json_to: Path | None,
) -> int:  # fmt: skip
    """Flip bits of the models of GUARD.TOML (the demo's without it), with and without the guard.

    For guards of traffic signs: the pictures are those of the shipped stream. Exit code 1 when the
    guard does not make wrong commands at least five times rarer.
    """
    from edgeguard import figures
    from edgeguard.config.load import files_named
    from edgeguard.lab.testing.report import run

    if json_to is not None:
        figures.check_writable(json_to, *files_named(policy))
    n = min(many, 100) if quick else many
    found = run(policy or models_dir() / "guard.toml", n, seed, jobs, results, only)
    if json_to is not None:
        figures.write(json_to, found, seed, ("onnxruntime", "ai-edge-litert", "numpy"))
    missed = [figure for figure in found if figure.holds is False]
    for figure in missed:
        click.echo(f"FAILED {figure.id}: {figure.value:.3g}, want {figure.bar}", err=True)
    return 1 if missed else 0


@command.command("common-mode")
@click.argument("policy", type=click.Path(path_type=Path, dir_okay=False), metavar="[GUARD.TOML]",
                required=False)  # fmt: skip
@click.option("--quick", is_flag=True, help="Two pictures of each track in place of ten.")
@click.option("--json", "json_to", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the figures.")  # fmt: skip
def common_mode(policy: Path | None, quick: bool, json_to: Path | None) -> None:
    """Spoil pictures by weather, light, wear and static attacks; how often do members agree on what
    is wrong, and what does the guard accept?
    """
    from edgeguard import figures
    from edgeguard.config.load import files_named
    from edgeguard.lab.testing.common_mode import run

    if json_to is not None:
        figures.check_writable(json_to, *files_named(policy))
    found = run(policy or models_dir() / "guard.toml", quick)
    if json_to is not None:
        figures.write(json_to, found, 0, ("onnxruntime", "ai-edge-litert", "numpy", "pillow"))
