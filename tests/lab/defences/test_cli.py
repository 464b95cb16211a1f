# SPDX-License-Identifier: Apache-2.0
"""`edgeguard lab defend`: a card and figures of a few pictures, and what it refuses."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="the lab needs its extra")
pytest.importorskip("onnxruntime", reason="the plain member runs on it")

from edgeguard.cli.lab_defend import defend
from edgeguard.errors import EdgeguardError
from edgeguard.lab.zoo.data import data_root


@pytest.fixture
def there():
    try:
        data_root()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_the_card_and_the_figures_of_a_stage(there, tmp_path):
    to, names = tmp_path / "figures.json", ["stage.median2"]
    made = CliRunner().invoke(
        defend, [*names, "--quick", "--n", "2", "--out", str(tmp_path), "--json", str(to)]
    )
    assert made.exit_code == 0, made.output
    found = {f["id"]: f for f in json.loads(to.read_text())["figures"]}
    for name in names:
        card = json.loads((tmp_path / f"plain.{name}.json").read_text())
        assert set(card["static"]) == {"fgsm", "pgd", "cw"}
        assert card["adaptive"]["linf.4"]["n"] == card["clean_after"]["value"] * 2
        for kind in ("static", "adaptive"):
            for attack, share in card[kind].items():
                assert found[f"defend.plain.{name}.{kind}.{attack}"]["value"] == share["value"]
    assert found["defend.plain.stage.median2.device"]["unit"] == "us"


def test_what_it_refuses(tmp_path):
    run = CliRunner().invoke
    assert "'prayer' is none of certainty" in run(defend, ["prayer"]).output
    assert "'history' is none of" in run(defend, ["boxes+history"]).output
    nowhere = run(defend, ["boxes", "--data-dir", str(tmp_path), "--out", str(tmp_path)])
    assert isinstance(nowhere.exception, EdgeguardError)
    assert "no gtsrb/" in str(nowhere.exception)
