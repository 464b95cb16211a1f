# SPDX-License-Identifier: Apache-2.0
"""``python -m edgeguard.lab.zoo train|evaluate``: the lab's commands for the reference models."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Parse and run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="edgeguard lab", description=__doc__)
    parser.add_argument(
        "--data-dir",
        help="folder that holds gtsrb/ (default: $EDGEGUARD_DATA, then ../shared/data)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("train", help="train, quantize and describe a member again")
    make.add_argument(
        "name", nargs="?", choices=("plain", "compact", "robust", "all"), default="all"
    )
    make.add_argument("--epochs", type=int)
    make.add_argument("--out", type=Path, default=Path("models/gtsrb"))
    measure = commands.add_parser(
        "evaluate", help="print accuracy, robustness and the vote against their bars"
    )
    measure.add_argument(
        "--data", metavar="FILE.npz", help="images to report on (default: test_public_32.npz)"
    )
    measure.add_argument("--quick", action="store_true", help="attack 100 images in place of 1,000")
    measure.add_argument("--json", metavar="FILE", help="write the results file")
    measure.add_argument("--models", type=Path, help="folder of the models (default: models/gtsrb)")
    arguments = parser.parse_args(argv)
    if arguments.command == "train":
        from edgeguard.lab.zoo.make import train

        for name in (
            ("plain", "compact", "robust") if arguments.name == "all" else (arguments.name,)
        ):
            train(name, arguments.data_dir, arguments.out, arguments.epochs)
        return 0
    from edgeguard.lab.zoo import evaluate

    return evaluate.evaluate(
        arguments.data_dir,
        n_pgd=100 if arguments.quick else 1000,
        json=arguments.json,
        file=arguments.data,
        models=arguments.models or evaluate.MODELS,
    )


if __name__ == "__main__":
    sys.exit(main())
