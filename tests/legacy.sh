#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The suite with tflite-runtime 2.14 and numpy 1.26: Python 3.11 is the newest that has both.
set -eu
python=$(command -v python3.11 || true)
if [ -z "$python" ]; then
  echo "make test-legacy needs python3.11 (tflite-runtime 2.14 has no wheel for a newer one)." >&2
  echo "Get one with: uv python install 3.11, or pyenv install 3.11, or Debian 12's python3.11." >&2
  exit 1
fi
venv=.venv-legacy
[ -d $venv ] || "$python" -m venv $venv
$venv/bin/pip install -q --disable-pip-version-check "scikit-build-core>=0.11" "pybind11>=3.0" cmake ninja
$venv/bin/pip install -q --disable-pip-version-check --no-build-isolation ".[onnx,tflite]" \
  "numpy==1.26.*" "opencv-python-headless<4.11" "pytest>=8" "hypothesis>=6.100" "scipy<1.14" "onnx<1.18" pillow "matplotlib>=3.8"
if [ -z "${EDGEGUARD_DATA:-}" ] && [ -d ../shared/data ]; then
  EDGEGUARD_DATA=$(cd ../shared/data && pwd)
  export EDGEGUARD_DATA
fi
rm -rf build/legacy
mkdir -p build/legacy
cp -r tests docs pyproject.toml models build/legacy/ # outside of the sources, so that the wheel is what is tested
cd build/legacy
exec ../../$venv/bin/python -m pytest "$@"
