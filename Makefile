# SPDX-License-Identifier: Apache-2.0
# `make demo` and `make test` set everything up by themselves, in .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := onnx,litert,images,plots,lab,dev
NATIVE := $(shell find native -name '*.c' -o -name '*.h' -o -name '*.cpp' -o -name '*.hpp' -o -name CMakeLists.txt)

.PHONY: demo test test-legacy bench check ctest lint wheel clean

demo: $(VENV)/run
	$(BIN)/edgeguard demo

test: $(VENV)/test ctest
	$(BIN)/python -m pytest $(PYTEST)

# Everything that CI looks at before it runs a test; pre-commit runs the same.
lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files 'native/*.c' 'native/*.h' 'native/*.cpp' 'native/*.hpp')

# The C tests of the decision core, with AddressSanitizer and UndefinedBehaviorSanitizer.
ctest: $(VENV)/test
	$(BIN)/cmake -S . -B build/ctest -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) \
	  -DCMAKE_BUILD_TYPE=Debug -DEDGEGUARD_PYTHON=OFF -DEDGEGUARD_TESTS=ON -DEDGEGUARD_SANITIZE=ON > build/ctest.log
	$(BIN)/cmake --build build/ctest >> build/ctest.log || { cat build/ctest.log; exit 1; }
	$(BIN)/ctest --test-dir build/ctest --output-on-failure

bench: $(VENV)/test
	$(BIN)/edgeguard bench

# The suite with tflite-runtime 2.14 and numpy 1.26, as on 32-bit Pis and old images.
test-legacy:
	@sh tests/legacy.sh

wheel: $(VENV)/test
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

# What `make demo` needs: the runtime and its two engines.
$(VENV)/run: pyproject.toml CMakeLists.txt $(NATIVE) | $(VENV)/made
	$(BIN)/pip install -q --disable-pip-version-check "scikit-build-core>=0.10" "pybind11>=3.0" cmake ninja
	$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation -e ".[onnx,litert]"
	touch $@

$(VENV)/test: $(VENV)/run
	$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation -e ".[$(EXTRAS)]"
	mkdir -p build
	touch $@

$(VENV)/made:
	@sh tests/system_tools.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	touch $@

clean:
	rm -rf build dist $(VENV) $(VENV)-legacy
