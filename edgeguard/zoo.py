# SPDX-License-Identifier: Apache-2.0
"""Where the reference models lie: inside the installed package, or in the checkout beside it."""

from __future__ import annotations

from pathlib import Path

from edgeguard.errors import EdgeguardError

CHECKOUT = (
    "a wheel has no float twins: in a checkout, `pip install --no-build-isolation -e '.[lab]'`"
)
"""Where those files are that are not installed."""


def models_dir(zoo: str = "gtsrb") -> Path:
    """The folder of a zoo, for example `gtsrb`. Raises EdgeguardError when it is not there."""
    package = Path(__file__).resolve().parent
    tried = [package / "_models" / zoo, package.parent / "models" / zoo]
    for folder in tried:
        if folder.is_dir():
            return folder
    raise EdgeguardError(
        f"no models of {zoo!r} in {' or '.join(str(folder) for folder in tried)};"
        " install the wheel, or run from a complete checkout"
    )
