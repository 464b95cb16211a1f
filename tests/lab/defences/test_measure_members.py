# SPDX-License-Identifier: Apache-2.0
"""Members that are made anew: what is kept, what it cost, and what is counted as transfer."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab needs its extra")
pytest.importorskip("onnxruntime", reason="the plain member runs on it")

from edgeguard.errors import EdgeguardError  # noqa: E402
from edgeguard.lab.attacks.victim import Victim, images  # noqa: E402
from edgeguard.lab.defences import bench as bench_module  # noqa: E402
from edgeguard.lab.defences import (  # noqa: E402
    measure_detectors,
    measure_distill,
    measure_members,
    measure_stages,
    once,
)
from edgeguard.lab.defences.bench import Bench  # noqa: E402
from edgeguard.lab.defences.reconstruct import DRAWS, STAGES, Staged  # noqa: E402
from edgeguard.lab.defences.run import Request, run  # noqa: E402
from edgeguard.lab.defences.together import Together  # noqa: E402
from edgeguard.lab.zoo import data  # noqa: E402


def test_a_file_is_made_once_for_each_request(root, tmp_path):
    quick = Bench(root, quick=True)
    file, cpu_s = measure_members.made(quick, "adversarial.fast", tmp_path)
    stamp = file.stat().st_mtime_ns
    assert measure_members.made(quick, "adversarial.fast", tmp_path) == (file, cpu_s)
    assert file.stat().st_mtime_ns == stamp
    full, _ = measure_members.made(Bench(root), "adversarial.fast", tmp_path)
    assert full != file
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {
        name for f in (file, full)
        for name in (f.name, f"{f.stem}.float.onnx", f"{f.stem}.training.json")
    }  # fmt: skip


def test_a_card_says_what_all_training_cost(root, tmp_path):
    bench = Bench(root, quick=True, many=2)
    card = measure_members.measure(bench, "autoencoder", tmp_path)
    assert (tmp_path / card.loads.partition(",")[0]).is_file()
    assert card.training > bench.training_multiple() == 1
    assert card.clean_after.n == 2
    assert set(card.adaptive) == {"linf.2", "linf.4", "linf.8", "cw"}
    assert set(card.notes) == {"transfer.before", "transfer.after", "adaptive.cw.l2_median"}
    again = measure_members.made(bench, "autoencoder", tmp_path)[1]
    assert bench.training_multiple(again) == card.training
    robust = Bench(root, "robust", quick=True)
    assert robust.training_multiple() > 1.2  # as much dearer as the robust member is


@pytest.mark.parametrize("changed", ["train_32.webp", "train_32_index.npz"])
def test_other_training_frames_make_another_member(root, tmp_path, changed):
    here = tmp_path / "gtsrb"
    shutil.copytree(root / "gtsrb", here)
    twin = Bench(root).twin("autoencoder")
    keys = [once.key_of(Bench(folder), [], twin, 0) for folder in (root, tmp_path)]
    assert keys[0] == keys[1]
    (here / changed).write_bytes((here / changed).read_bytes() + b"!")
    assert once.key_of(Bench(tmp_path), [], twin, 0) != keys[0]


def test_what_training_stopped_in_is_not_taken_for_made(tmp_path):
    """A kill while the file is written leaves nothing that a later run finds."""

    def half(to):
        to.with_suffix(".float.onnx").write_bytes(b"all")
        to.write_bytes(b"hal")
        raise KeyboardInterrupt

    def whole(to):
        to.with_suffix(".float.onnx").write_bytes(b"all")
        to.write_bytes(b"whole")

    file = tmp_path / "member.onnx"
    with pytest.raises(KeyboardInterrupt):
        once.make(file, half)
    assert list(tmp_path.iterdir()) == []
    once.make(file, whole)
    once.make(file, half)
    assert file.read_bytes() == b"whole"
    assert file.with_suffix(".float.onnx").exists()


def test_a_member_without_a_float_twin_is_refused(root, tmp_path):
    with pytest.raises(EdgeguardError, match=r"compact\.float\.onnx.* plain, robust"):
        measure_members.made(Bench(root, "compact"), "autoencoder", Path(tmp_path))


def test_a_student_is_made_once_for_each_member_and_recipe(root, tmp_path):
    """The name of one must not be that of another: what is there is not trained again."""
    quick, full, robust = (
        measure_distill.file_of(bench, tmp_path)
        for bench in (Bench(root, quick=True), Bench(root), Bench(root, "robust", quick=True))
    )
    assert len({quick, full, robust}) == 3
    assert measure_distill.file_of(Bench(root, quick=True), tmp_path) == quick
    assert len({f.with_suffix(".pt") for f in (quick, full, robust)}) == 3
    with pytest.raises(EdgeguardError, match=r"compact\.float\.onnx.* plain, robust"):
        measure_distill.file_of(Bench(root, "compact"), tmp_path)


def test_a_defence_that_cannot_be_made_is_refused_before_any_is_measured(root, tmp_path):
    names = ("certainty", "distillation", "stage.none")
    request = Request(names, "compact", True, 2, str(root), tmp_path / "out")
    with pytest.raises(EdgeguardError, match=r"distillation needs.*: certainty stage\.none"):
        run(request)
    assert not (tmp_path / "out").exists()


def test_what_fell_within_a_smaller_radius_has_fallen_within_a_larger_one(root):
    """And what a static attack had within 8/255, whatever the one that knows the defence does."""
    bench = Bench(root, quick=True, many=6)
    after = bench.right
    none = {name: np.zeros(int(after.sum()), bool) for name in ("fgsm", "pgd", "cw")}
    some = {**none, "pgd": np.ones(int(after.sum()), bool)}
    radii = {"linf.16": 16 / 255, "linf.0": 0.2 / 255}  # the second alone changes nothing
    found = measure_stages.adaptive(bench, bench.victim, after, none, radii)
    assert found["linf.0"].hits == found["linf.16"].hits > 0
    found = measure_stages.adaptive(
        bench, bench.victim, after, some, {"a": 0.2 / 255, "b": 8 / 255}
    )
    assert found["a"].hits == 0
    assert found["b"].hits == found["b"].n


@dataclass
class Passing:
    """Reads a picture wrongly from a fifth to half of the way to the brightest of the ball, and its
    slope leads on from there."""

    clean: np.ndarray
    y: int
    radius: float

    def scores(self, x):
        way = (x - images(self.clean)).flatten(1).mean(1) / self.radius
        wrong = torch.where((way > 0.2) & (way < 0.5), 1.0, -1.0) + way - way.detach()
        made = torch.full((len(x), data.CLASSES), -5.0)
        made[:, self.y] = 0.0
        made[:, (self.y + 1) % data.CLASSES] = wrong
        return made

    def labels(self, pixels):
        return self.scores(images(pixels)).argmax(1).numpy()


def test_what_is_wrong_on_the_way_has_fallen(root):
    """An attack that keeps its last step alone would call it withstood."""
    bench = Bench(root, quick=True, many=1)
    target = Passing(bench.chosen.pixels, int(bench.chosen.y[0]), 8 / 255)
    none = {name: np.zeros(1, bool) for name in ("fgsm", "pgd")}
    bench.right = np.ones(1, bool)
    found = measure_stages.adaptive(bench, target, bench.right, none, {"linf.8": 8 / 255})
    assert found["linf.8"].hits == 1


def test_what_beat_a_detector_within_a_smaller_radius_has_beaten_it(root, monkeypatch):
    bench = Bench(root, quick=True, many=6)
    detector = measure_detectors.detectors(bench)["certainty"]()
    detector.limit = 0.9
    own = bench.chosen.where(bench.right)
    none = {name: np.zeros(len(own), bool) for name in ("fgsm", "pgd", "cw")}
    radii = {"linf.16": 16 / 255, "linf.0": 0.2 / 255}  # the second alone changes nothing
    monkeypatch.setattr(measure_detectors, "RADII", radii)
    found, _ = measure_detectors.adaptive(bench, detector, own, none)
    assert found["linf.0"].hits == found["linf.16"].hits > 0


@dataclass
class Counting:
    """A member that counts the pictures it is shown, to read and to differentiate."""

    victim: Victim
    read: int = 0
    differentiated: int = 0

    def labels(self, pixels):
        self.read += len(pixels)
        return self.victim.labels(pixels)

    def scores(self, x):
        self.differentiated += len(x)
        return self.victim.scores(x)

    def __getattr__(self, name):
        return getattr(self.victim, name)


def test_a_random_stage_costs_what_its_majority_takes(root):
    """20 draws, each a run of the member; and the attacker averages over as many."""
    bench = Bench(root, quick=True, many=2)
    noise = Staged(Counting(bench.victim), STAGES["noise8"])
    pixels = bench.chosen.pixels
    noise.labels(pixels)
    noise.scores(images(pixels))
    assert noise.model.read == noise.model.differentiated == DRAWS * len(pixels)
    bench.victim = Counting(bench.victim)
    measure_stages.cost_us(bench, Staged(bench.victim, STAGES["noise8"]))
    bare = bench.victim.read // (1 + DRAWS)
    assert bench.victim.read == bare + DRAWS * bare > 0


def test_a_surrogate_is_compared_on_all_that_e2_wants_with_quick_too(root):
    assert len(Bench(root, quick=True).agreed) == 60  # all that there are
    assert bench_module.AGREED >= 1000


class Contrary:
    """Reads every picture of the bench wrongly."""

    def __init__(self, bench):
        self.y = bench.chosen.y

    def labels(self, pixels):
        return (self.y[: len(pixels)] + 1) % data.CLASSES


def test_transfer_counts_pictures_that_all_read_rightly_before(root):
    bench = Bench(root, quick=True, many=12)
    found = measure_members.transfer(bench, {"itself": bench.victim}, bench.victim)
    share = found["transfer.itself"]
    assert share.hits == share.n > 0
    found = measure_members.transfer(
        bench, {"itself": bench.victim, "contrary": Contrary(bench)}, bench.victim
    )
    assert {(s.hits, s.n) for s in found.values()} == {(0, 0)}


def test_what_the_learned_detector_costs_is_measured(root, monkeypatch):
    """Its attacks on training frames, by a clock that counts the pictures which the member is
    differentiated on; one that is only fitted costs nothing that counts."""
    bench = Bench(root, many=2)
    bench.victim = Counting(bench.victim)
    monkeypatch.setattr(time, "process_time", lambda: float(bench.victim.differentiated))
    known = measure_detectors.detectors(bench)
    learned = known["learned"]()
    assert learned.seconds == bench.victim.differentiated > 0
    whole = Together([learned, known["certainty"]()])
    assert measure_detectors.trained_s(whole) == learned.seconds
    assert measure_detectors.trained_s(known["vim"]()) == 0
