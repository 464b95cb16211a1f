#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The tests of the donkeycar parts, in an environment of their own: donkeycar 5.3 wants numpy < 2
# and Python 3.11. DONKEYCAR_VENV: where it is made, if not in .venv-donkeycar.
set -eu
python=$(command -v python3.11 || true)
if [ -z "$python" ]; then
  echo "make test-donkeycar needs python3.11 (donkeycar 5.3 has no release for a newer one)." >&2
  echo "Get one with: uv python install 3.11, or pyenv install 3.11, or Debian 12's python3.11." >&2
  exit 1
fi
venv=${DONKEYCAR_VENV:-.venv-donkeycar}
[ -d "$venv" ] || "$python" -m venv "$venv"
pip="$venv/bin/pip install -q --disable-pip-version-check"
$pip "scikit-build-core>=0.11" "pybind11>=3.0" "cffi>=1.16" cmake ninja
$pip --no-build-isolation . "donkeycar==5.3.0" "numpy<2" "pytest>=8"
rm -rf build/donkeycar
mkdir -p build/donkeycar
cp -r tests docs pyproject.toml build/donkeycar/ # outside of the sources, so that the wheel is what is tested
venv=$(cd "$venv" && pwd)
cd build/donkeycar
exec "$venv/bin/python" -m pytest tests/adapters/test_donkeycar.py "$@"
