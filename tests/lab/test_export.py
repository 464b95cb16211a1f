# SPDX-License-Identifier: Apache-2.0
"""What `edgeguard lab export` will not sign."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="bundles are signed")

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeguard.errors import EdgeguardError
from edgeguard.lab.export import export
from edgeguard.zoo import models_dir


def test_two_results_of_the_same_name_are_refused(tmp_path: Path) -> None:
    """The second would take the place of the first, and nobody would know."""
    key, to, results = Ed25519PrivateKey.generate(), tmp_path / "x.egb", []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        results.append(tmp_path / folder / "figures.json")
        results[-1].write_text(f'"{folder}"')
    policy = models_dir() / "guard.toml"
    with pytest.raises(EdgeguardError, match=r"--results .*two/figures\.json: another file of"):
        export(policy, to, key, name="car", version=1, results=results)
    assert not to.exists()
    export(policy, to, key, name="car", version=1, results=results[:1])
    assert to.exists()
