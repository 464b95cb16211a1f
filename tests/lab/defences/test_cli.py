# SPDX-License-Identifier: Apache-2.0
"""`edgeguard lab defend`: a card and figures of a few pictures, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="the lab needs its extra")
pytest.importorskip("onnxruntime", reason="the plain member runs on it")

from edgeguard.cli.lab_defend import NAMES, defend
from edgeguard.errors import EdgeguardError
from edgeguard.figures import at_least, document
from edgeguard.lab.defences.bench import Bench
from edgeguard.lab.defences.card import Card
from edgeguard.lab.defences.detector import Share
from edgeguard.lab.defences.measure_detectors import detectors
from edgeguard.lab.defences.reconstruct import STAGES
from edgeguard.lab.defences.run import measure
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


def test_the_stages_that_can_be_asked_for_are_those_there_are():
    asked = {name.removeprefix("stage.") for name in NAMES if name.startswith("stage.")}
    assert asked == {"none", *STAGES}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["certainty+certainty"], "'certainty+certainty' names a defence twice"),
        (["certainty", "squeezing", "certainty"], "'certainty' names a defence twice"),
    ],
)
def test_a_defence_that_is_named_twice_is_refused(names, said):
    made = CliRunner().invoke(defend, names)
    assert made.exit_code == 2
    assert said in made.output


def test_two_detectors_that_a_guard_runs_on_the_same_arrays_are_refused():
    """The guard would run the formula of both with the arrays of one."""
    made = CliRunner().invoke(defend, ["relative_mahalanobis+boxes+learned"])
    assert made.exit_code == 2
    assert "learned takes their place; name one of the two" in " ".join(made.output.split())


def strict(text: str):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_was_measured_on_nothing_is_left_out_but_for_its_bar():
    none, whole = Share(0, 0), Share(1, 2)
    card = Card(
        "odd", "detector", "plain", 1.0, 1.0, whole, whole, whole, {"fgsm": none, "pgd": whole},
        {"cw": none}, {"adaptive.cw.l2_median": float("nan"), "detected.fgsm": none, "limit": 0.5,
                       "detected": at_least("defend.plain.odd.detected", float("nan"), 0.85)},
    )  # fmt: skip
    told = strict(json.dumps(card.document()))
    assert set(told["static"]) == {"pgd"}
    assert told["adaptive"] == {}
    assert told["notes"] == {"limit": 0.5, "detected": {"value": None, "bar": ">= 0.85"}}
    told = strict(json.dumps(document(card.figures(), 0, ())))
    (barred,) = (f for f in told["figures"] if f["id"] == "defend.plain.odd.detected")
    assert (barred["value"], barred["holds"]) == (None, False)
    assert [f["id"] for f in told["figures"] if "fgsm" in f["id"] or "cw" in f["id"]] == []
    assert "defend.plain.odd.static.pgd" in {f["id"] for f in told["figures"]}


def test_pictures_of_which_none_is_left_are_too_few(root, tmp_path):
    bench = Bench(root, quick=True, many=1)
    bench.right = np.zeros(1, bool)
    for measured in ("certainty", "stage.none"):
        with pytest.raises(EdgeguardError, match=r"none of 1 pictures.*: give more with --n"):
            measure(bench, measured, tmp_path)
    bench.right = np.ones(1, bool)
    detector = detectors(bench)["certainty"]()
    bench.calibration = bench.held.where(
        np.repeat(detector.measured(bench.held.pixels).argmin(), 99)
    )
    with pytest.raises(EdgeguardError, match=r"read rightly and accepted: give more with --n"):
        measure(bench, "certainty", tmp_path)


def test_what_it_refuses(tmp_path):
    run = CliRunner().invoke
    assert "'prayer' is none of certainty" in run(defend, ["prayer"]).output
    assert "'history' is none of" in run(defend, ["boxes+history"]).output
    nowhere = run(defend, ["boxes", "--data-dir", str(tmp_path), "--out", str(tmp_path)])
    assert isinstance(nowhere.exception, EdgeguardError)
    assert "no gtsrb/" in str(nowhere.exception)
