# SPDX-License-Identifier: Apache-2.0
"""Array files of a user: read whole, never unpickled; whatever is wrong becomes one sentence."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.errors import ConfigError

STARTS = (b"PK", b"\x93NUMPY")
ADVICE = "write it with numpy.savez"


def read_npz(path: Path, data: bytes | None = None) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an .npz by name; data: what was read of it already, and hashed. Raises
    ConfigError that names the file and the reason."""
    try:
        with path.open("rb") if data is None else io.BytesIO(data) as start:
            if not start.read(6).startswith(STARTS):
                raise ValueError(f"it is no .npz; {ADVICE}")
        file = np.load(path if data is None else io.BytesIO(data), allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError(f"it holds one array without a name; {ADVICE}")
        with file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zip, zlib, struct, tokenizer: all of them raise on damaged files
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        if "allow_pickle" in str(reason):  # numpy's advice would run whatever the file says
            reason = f"it holds Python objects; {ADVICE} from arrays of numbers and text"
        raise ConfigError(f"{path}: cannot be read as npz: {reason}") from None
