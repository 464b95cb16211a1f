# SPDX-License-Identifier: Apache-2.0
"""Whatever a pilot or an agent of somebody else answers with: numbers, or NaN, and no exception."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeguard.adapters.said import numbers

torch = pytest.importorskip("torch", reason="the extra lab")


class Torn:
    """An answer that breaks when it is looked at."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("out of memory")


@pytest.mark.parametrize(
    "said",
    [
        0.5,
        [0.5],
        np.float32([[0.5]]),
        torch.tensor([0.5]),
        torch.tensor([[0.5]], requires_grad=True) * 1,
    ],
    ids=str,
)
def test_one_number_in_any_form(said: Any) -> None:
    assert numbers(said, 1).tolist() == [0.5]


@pytest.mark.parametrize("said", [Torn(), 10**400, "left", [], [0.1, 0.2], {}, None, object()],
                         ids=type)  # fmt: skip
def test_what_is_none_is_insane(said: Any) -> None:
    assert np.isnan(numbers(said, 1)).all() and numbers(said, 1).shape == (1,)
