# Thin front of the CMake build; every target can be run by hand. SPDX-License-Identifier: MIT
BUILD ?= build
JOBS ?= $(shell nproc)

.PHONY: all setup unit test lint fuzz interop demo bench footprint conformance clean install

all: ## Build the program, the library and the examples
	cmake -G Ninja -B $(BUILD) -S . >/dev/null
	cmake --build $(BUILD) -j $(JOBS)

setup: ## Install what the build and the tests need (asks apt; as root or through sudo)
	tools/setup.sh

test: ## Everything the gate runs
	.ci/check

unit: all ## Unit tests only
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

lint:
	.ci/lint.sh

fuzz: ## Explore every fuzz target for SECONDS_EACH seconds (default 10)
	.ci/fuzz.sh

interop: all ## Tests against the official programs
	.ci/interop.sh

demo: ## A whole tailnet on this machine, for a minute
	tools/demo/run.sh

bench: all ## Ratios against wireguard-go, boringtun and tailscaled
	tests/bench/run.sh

footprint: all ## Measure memory and size, here and on the emulated board; writes docs/footprint*.md and the README's table
	tools/footprint.py --build $(BUILD)
	tools/footprint_board.py

conformance: ## Regenerate docs/conformance.md from the names of the tests
	tools/conformance.py

install: all
	cmake --install $(BUILD)

clean:
	rm -rf $(BUILD) build-*
