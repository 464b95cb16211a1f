# SPDX-License-Identifier: Apache-2.0
"""One thread for torch: with more, small layers wait for each other on a busy machine."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
