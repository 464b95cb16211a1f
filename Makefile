# SPDX-License-Identifier: Apache-2.0
# `make demo` and `make test` set everything up by themselves, in .venv.

JOBS ?= $(shell nproc)
PYTHON ?= $(shell sh tests/system_tools.sh --python)
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := onnx,litert,images,plots,mcu,can,mavlink,telemetry,record
# Apart, for they bring torch. On x86_64 the one from PyPI comes with CUDA (GBs); where there is no
# GPU, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu brings a small one. `make demo` needs
# neither.
HEAVY := lab,drive,dev
NATIVE := $(shell find native firmware_bridge -name '*.c' -o -name '*.h' -o -name '*.cpp' -o -name '*.hpp' -o -name CMakeLists.txt)
SOURCES := $(filter %.c %.h %.cpp %.hpp,$(NATIVE))

.PHONY: demo demo-mcu demo-drive test test-legacy test-donkeycar judge bench ctest prove mcdc msan mutants fuzz traces replay firmware rules requirements readme lint wheel clean

demo: $(VENV)/run
	$(BIN)/edgeguard demo

# The guard drives through a microcontroller in QEMU and is killed halfway.
demo-mcu: $(VENV)/run
	$(BIN)/edgeguard mcu demo

# Three attacks on a car that three networks steer, without the guard and with it.
demo-drive: $(VENV)/drive
	$(BIN)/edgeguard drive --demo drive.gif

# JOBS: processes for the tests, at most four; PYTEST: more arguments.
test: $(VENV)/test ctest
	$(BIN)/python -m pytest -n $(JOBS) --maxprocesses 4 --dist loadfile $(PYTEST)
	@need="$$(sh tests/system_tools.sh --proving)"; [ -z "$$need" ] || echo "make prove, mcdc, msan, mutants," \
	  "fuzz, traces, firmware and rules need more than this: apt-get install -y $$need"

# Everything that CI looks at before it runs a test; pre-commit runs the same.
lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(if $(SOURCES),,$(error no C or C++ sources in native/))
	@$(BIN)/clang-format --dry-run --Werror $(SOURCES)

# The C tests of the decision core, with AddressSanitizer and UndefinedBehaviorSanitizer.
ctest: $(VENV)/test
	mkdir -p build
	$(BIN)/cmake -S . -B build/ctest -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) \
	  -DCMAKE_BUILD_TYPE=Debug -DEDGEGUARD_PYTHON=OFF -DEDGEGUARD_TESTS=ON -DEDGEGUARD_SANITIZE=ON \
	  > build/ctest.log 2>&1 || { cat build/ctest.log; exit 1; }
	$(BIN)/cmake --build build/ctest >> build/ctest.log 2>&1 || { cat build/ctest.log; exit 1; }
	$(BIN)/ctest --test-dir build/ctest --output-on-failure

# The core, the link and the firmware's logic: every line, branch and condition, from their C tests.
mcdc: $(VENV)/test
	$(BIN)/python native/core/quality/mcdc.py --json build/mcdc.json

# The same tests under MemorySanitizer: reads of memory that nobody wrote, which the proofs do not see.
msan: $(VENV)/test
	$(BIN)/python native/core/quality/msan.py

# Every mutant of them (SAMPLE=N: so many of each); one that the tests let live is printed.
mutants: $(VENV)/test
	$(BIN)/python native/core/quality/mutants.py $(if $(SAMPLE),--sample $(SAMPLE)) --json build/mutants.json

# The proofs of the core and the link, each with seeded bugs that it must reject (SHORT=1: the fast ones;
# SMALL=1: with the microcontroller's sizes, without the bugs).
prove: $(VENV)/test
	$(BIN)/python native/core/proofs/prove.py $(if $(SHORT),--short) $(if $(SMALL),--small --no-bugs) \
	  --json build/prove.json

# cppcheck with its MISRA addon, clang-tidy, complexity and length: what they find is argued in docs/misra.md.
rules: $(VENV)/test
	$(BIN)/python native/core/quality/rules.py --json build/rules.json

# Every requirement has evidence, and the matrix in docs/ is the one that it gives.
requirements: $(VENV)/test
	$(BIN)/python native/core/quality/requirements.py --check

# MIN=60: that long, a core for each target.
fuzz: $(VENV)/test
	$(BIN)/python native/core/fuzz/fuzz.py $(if $(MIN),--minutes $(MIN)) --json build/fuzz.json

# The same random steps on x86-64, aarch64 and Cortex-M4 (FULL=1: 10^7, and 10^5 on the last).
traces: $(VENV)/test
	$(BIN)/python native/core/fuzz/fuzz.py --traces $(if $(FULL),--steps 10000000 --small-steps 100000) \
	  --json build/traces.json

# A recorded drive that nothing is spared, replayed on x86-64 and aarch64 (FULL=1: 10^6 ticks).
replay: $(VENV)/test
	$(BIN)/python -m tests.output.recorder.processors $(if $(FULL),--ticks 1000000) --json build/replay.json

# The images of both boards for the demo's guard, with a key made for them; prints flash and RAM.
firmware: $(VENV)/test
	mkdir -p build/firmware
	$(BIN)/edgeguard mcu policy models/gtsrb/guard.toml --keys build/firmware/keys.json \
	  -o build/firmware/mcu_table.c
	for board in qemu_mps2 stm32f4; do $(MAKE) --no-print-directory -f firmware_bridge/mcu/Makefile \
	  BOARD=$$board TABLE=build/firmware/mcu_table.c OUT=build/firmware/$$board \
	  PYTHON=$(abspath $(BIN)/python) all footprint || exit 1; done

# The tables of figures in README.md and docs/results/README.md, from what the commands wrote with --json (docs/results).
readme: $(VENV)/test
	$(BIN)/python docs/results/readme.py

bench: $(VENV)/test
	$(BIN)/edgeguard bench

# The suite with tflite-runtime 2.14 and numpy 1.26, as on 32-bit Pis and old images.
test-legacy:
	@sh tests/legacy.sh

# A million guarded commands for two brands of car, with opendbc's safety hooks as the judge.
judge: $(VENV)/test
	$(BIN)/python -m tests.adapters.judge --json build/judge.json

# The donkeycar parts against the real package, which wants numpy < 2: in an environment of its own.
test-donkeycar:
	@sh tests/adapters/donkeycar.sh

wheel: $(VENV)/test
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

# What `make demo` needs: the runtime and its two engines.
# setuptools: what has no wheel (cobs) is built without isolation, and older ones want wheel for that.
$(VENV)/run: pyproject.toml CMakeLists.txt $(NATIVE) | $(VENV)/made
	$(BIN)/pip install -q --disable-pip-version-check "scikit-build-core>=0.11" "pybind11>=3.0" "cffi>=1.16" cmake ninja "setuptools>=70.1"
	$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation -e ".[onnx,litert,images,mcu]"
	touch $@

$(VENV)/test: $(VENV)/run
	$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation -e ".[$(EXTRAS)]"
	$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation -e ".[$(HEAVY)]"
	touch $@

$(VENV)/drive: $(VENV)/run
	$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation -e ".[drive,plots]"
	touch $@

$(VENV)/made:
	@sh tests/system_tools.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	touch $@

clean:
	rm -rf build dist $(VENV) $(VENV)-legacy
