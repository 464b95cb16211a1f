# SPDX-License-Identifier: Apache-2.0
"""Members that are made anew: what is kept, what it cost, and what is counted as transfer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab needs its extra")
pytest.importorskip("onnxruntime", reason="the plain member runs on it")

from PIL import Image  # noqa: E402

from edgeguard.errors import EdgeguardError  # noqa: E402
from edgeguard.lab.defences import measure_members  # noqa: E402
from edgeguard.lab.defences.bench import Bench  # noqa: E402
from edgeguard.lab.zoo import data  # noqa: E402
from edgeguard.zoo import models_dir  # noqa: E402
from tests.lab.signs import signs  # noqa: E402


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data directory in the format of the real one: 60 signs to test, 144 to train on."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "gtsrb").mkdir()
    x, y = signs(60)
    np.savez(folder / "gtsrb" / "test_public_32.npz", x=x.transpose(0, 2, 3, 1), y=y)
    x, y = signs(144)
    sheet = x.transpose(0, 2, 3, 1).reshape(12, 12, 32, 32, 3).swapaxes(1, 2).reshape(384, 384, 3)
    Image.fromarray(np.ascontiguousarray(sheet)).save(
        folder / "gtsrb" / "train_32.webp", lossless=True
    )
    held = dict(divmod(key, 1000) for key in data.read_split(models_dir() / "split.json"))
    track = [held.get(int(label), 900) if i % 3 == 0 else 900 for i, label in enumerate(y)]
    np.savez(folder / "gtsrb" / "train_32_index.npz", y=y, track=np.array(track))
    return folder


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
    assert 1 < card.training < 1.1  # the plain member, and one step
    assert card.clean_after.n == 2
    assert set(card.notes) == {"transfer.before", "transfer.after"}
    again = measure_members.made(bench, "autoencoder", tmp_path)[1]
    assert measure_members.cost(bench, again) == card.training
    robust = Bench(root, "robust", quick=True)
    assert measure_members.cost(robust, 0.0) > 1.2  # as much dearer as the robust member is


def test_a_member_without_a_float_twin_is_refused(root, tmp_path):
    with pytest.raises(EdgeguardError, match=r"compact\.float\.onnx.* plain, robust"):
        measure_members.made(Bench(root, "compact"), "autoencoder", Path(tmp_path))


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
