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
$venv/bin/pip install -q --disable-pip-version-check "scikit-build-core>=0.11" "pybind11>=3.0" "cffi>=1.16" "setuptools>=70.1" \
  cmake ninja
$venv/bin/pip install -q --disable-pip-version-check --no-build-isolation ".[onnx,tflite,plots,mcu,can,mavlink,telemetry,record]" \
  "numpy==1.26.*" "opencv-python-headless<4.11" "pytest>=8" "pytest-xdist>=3.6" "hypothesis>=6.100" "scipy<1.14" "scikit-learn<1.6" \
  "onnx<1.18" "autosar-e2e>=1.0" "cobs>=1.2" pillow
if [ -z "${EDGEGUARD_DATA:-}" ] && [ -d ../shared/data ]; then
  EDGEGUARD_DATA=$(cd ../shared/data && pwd)
  export EDGEGUARD_DATA
fi
rm -rf build/legacy
mkdir -p build/legacy/firmware_bridge
cp -r tests docs pyproject.toml README.md models native build/legacy/ # apart from the package, so that the wheel is what is tested
cp -r firmware_bridge/mcu build/legacy/firmware_bridge/
cd build/legacy
# The lab runs on desktops, and what tests/quality looks at are sources.
exec ../../$venv/bin/python -m pytest -n 2 --dist loadfile --ignore tests/lab --ignore tests/quality "$@"
