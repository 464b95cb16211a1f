#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Names the system packages that a build needs and this machine lacks, with the line that brings them.
python=$1
missing=""
command -v c++ >/dev/null || missing="$missing g++"
command -v cc >/dev/null || missing="$missing gcc"
command -v git >/dev/null || missing="$missing git"
if [ -z "$python" ]; then
  missing="$missing python3 python3-venv python3-dev"
else
  "$python" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
  "$python" -c 'import os, sysconfig; raise SystemExit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
    missing="$missing python3-dev"
  "$python" -c 'import sys; raise SystemExit(not (3, 10) <= sys.version_info < (3, 14))' || {
    echo "edgeguard needs Python 3.10 to 3.13; $python is $("$python" -V). Give another: make PYTHON=python3.13 ..." >&2
    exit 1
  }
fi
[ -z "$missing" ] && exit 0
echo "missing system tools: apt-get install -y$missing" >&2
exit 1
