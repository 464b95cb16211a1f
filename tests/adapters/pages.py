# SPDX-License-Identifier: Apache-2.0
"""Does what a page of docs/integrations says, word for word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
NAME = re.compile(r'^(?:#|//|VERSION) "?(\w+\.\w+)')


def follow(page: str, folder: Path, python: str = sys.executable) -> list[str]:
    """Write each block that begins with the name of a file, run each line of those without a
    language, in the order of the page; what was printed, a text for each command.

    Installing and what begins with `make` or `edgeguard run` is left out: the first is done, the
    others need a checkout or do not end.
    """
    text = (ROOT / "docs" / "integrations" / page).read_text(encoding="utf-8")
    env = {**os.environ, "PATH": f"{Path(python).parent}:{os.environ['PATH']}"}
    said = []
    for language, body in BLOCK.findall(text):
        named = NAME.match(body)
        if named:
            (folder / named.group(1)).write_text(body, encoding="utf-8")
        for line in body.splitlines() if not language else ():
            if line.startswith(("make ", "edgeguard run ", "pip ", "sudo ", "apt-get ")):
                continue
            ran = subprocess.run(
                line, shell=True, cwd=folder, env=env, capture_output=True, text=True, timeout=300,
                check=False,
            )  # fmt: skip
            assert ran.returncode == 0, f"{page}: {line}: {ran.stderr}"
            said.append(ran.stdout)
    return said
