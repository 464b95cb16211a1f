#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Names the system packages that a build needs and this machine lacks, with the line that brings them.
#   system_tools.sh [PYTHON]          fails if something is missing
#   system_tools.sh --list [PYTHON]   prints only the names of the missing packages
#   system_tools.sh --python          prints the Python that is used when none is given
#   system_tools.sh --proving         prints the missing packages of the microcontroller, the proofs and the page
mode=check
case ${1:-} in --list | --python | --proving) mode=${1#--} && shift ;; esac

# What boots the firmware, proves the core, measures its tests and looks at the page: not needed to build or to run.
proving() {
  while read -r tool package; do
    command -v "$tool" >/dev/null || echo "$package"
  done <<TOOLS
qemu-system-arm qemu-system-arm
arm-none-eabi-gcc gcc-arm-none-eabi
arm-none-eabi-gcc libnewlib-arm-none-eabi
qemu-aarch64 qemu-user
aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
cbmc cbmc
kissat kissat
z3 z3
patch patch
gcc-14 gcc-14
clang-19 clang-19
clang-19 libclang-rt-19-dev
llvm-cov-19 llvm-19
clang-tidy-19 clang-tidy-19
cppcheck cppcheck
tcc tcc
cadical cadical
chromium chromium
gst-inspect-1.0 gstreamer1.0-tools
gst-inspect-1.0 gstreamer1.0-plugins-base
gst-inspect-1.0 gstreamer1.0-plugins-good
TOOLS
}
if [ $mode = proving ]; then
  proving | sort -u | tr '\n' ' '
  exit 0
fi

# One that runs: pyenv leaves names on the PATH that do not.
find_python() {
  for name in python3.11 python3 python3.13 python3.12 python3.10; do
    "$name" -c 'import sys; raise SystemExit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null &&
      command -v "$name" && return
  done
  command -v python3
}

python=${1:-$(find_python)}
if [ $mode = python ]; then
  echo "$python"
  exit 0
fi

missing=""
command -v c++ >/dev/null || missing="$missing g++"
command -v cc >/dev/null || missing="$missing gcc"
command -v make >/dev/null || missing="$missing make"
if [ -z "$python" ]; then
  missing="$missing python3 python3-venv python3-dev"
else
  "$python" -c 'import sys; raise SystemExit(not (3, 10) <= sys.version_info < (3, 14))' || {
    echo "edgeguard needs Python 3.10 to 3.13; $python is $("$python" -V). Give another: make PYTHON=python3.13 ..." >&2
    exit 1
  }
  package=$(basename "$python")
  "$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing $package-venv"
  "$python" -c 'import os, sysconfig; raise SystemExit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
    missing="$missing $package-dev"
fi
if [ $mode = list ]; then
  echo $missing
  exit 0
fi
[ -z "$missing" ] && exit 0
echo "missing system tools: apt-get install -y$missing" >&2
exit 1
