# SPDX-License-Identifier: Apache-2.0
"""Every C test under MemorySanitizer: whether a result depends on memory that nobody wrote, which
the proofs do not see.

    python native/core/quality/msan.py
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from targets import BUILD, JOBS, Target, Test, all_targets, compile_all, run

# Functions of a line inlined: a test of the link takes a tenth of the time that -O1 gives it.
FLAGS = ["-g", "-O2", "-fsanitize=memory", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
# The firmware seals whole structures with a CRC, the padding between their fields included.
SEALED = "[memory]\nfun:eg_crc\n"


def failures(target: Target, out: Path) -> list[str]:
    """What each test of a target that does not pass says."""
    out.mkdir(parents=True, exist_ok=True)
    ignored = out / "ignored.txt"
    ignored.write_text(SEALED if target.name == "firmware" else "", encoding="utf-8")
    flags = [*FLAGS, f"-fsanitize-ignorelist={ignored}", *target.flags]
    objects = compile_all("clang-19", flags, [*target.units, *target.support], out / "units")

    def said(test: Test) -> str | None:
        parts = compile_all("clang-19", flags, list(test.sources), out / test.name)
        program = out / test.name / "test"
        run(["clang-19", *FLAGS, *parts, *objects, "-o", program])
        done = subprocess.run([program], cwd=out, capture_output=True, text=True, check=False)
        return f"{target.name} {test.name}:\n{done.stderr[:3000]}" if done.returncode else None

    with ThreadPoolExecutor(JOBS) as pool:
        return [text for text in pool.map(said, target.tests) if text is not None]


def main() -> int:
    """Build and run all; 1 when one depends on what nobody wrote, or fails."""
    targets = all_targets()
    found = [text for t in targets for text in failures(t, BUILD / "msan" / t.name)]
    print("\n".join(found) or f"{sum(len(t.tests) for t in targets)} tests: nothing unwritten read")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
