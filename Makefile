# A thin front for Meson. What a person needs:
#   make demo     see the main job          make check    run every test
#   make          build into build/         make bench    measure
#   make install PREFIX=/usr/local DESTDIR=
BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

# Two of these in one clone take turns. ninja says also when there was nothing to do: not worth a line.
TURN := flock .
NINJA := $(TURN) ninja --quiet -C $(BUILD) | { grep -vxF 'ninja: no work to do.' || true; }

.PHONY: all setup demo check bench fuzz install clean

all: $(BUILD)/build.ninja
	@$(NINJA)

$(BUILD)/build.ninja:
	@for program in meson ninja cc; do command -v $$program >/dev/null || \
		{ echo "make: $$program is missing: run 'make setup' first" >&2; exit 1; }; done
	@mkdir -p $(BUILD) 2>/dev/null && test -w $(BUILD) || \
		{ echo "make: cannot write to '$(BUILD)': name another place, BUILD=/var/tmp/codex-build" >&2; exit 1; }
	@$(TURN) sh -c 'test -e $@ || { echo "Building in $(BUILD)/ …"; log=$$(meson setup $(BUILD) --prefix=$(PREFIX) 2>&1); } || \
		{ echo "$$log" >&2; exit 1; }'

# Lists what it would change on this machine, and asks on a terminal (YES=1 answers).
setup:
	@scripts/setup

demo: setup
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) demo/run

check: setup
	@tests/run

bench: setup
	@$(MAKE) --no-print-directory all
	@bench/run

# Each libFuzzer target for SECONDS (default 60); findings stay in build-fuzz/.
fuzz: setup
	@tests/fuzz/run $(or $(SECONDS),60)

# The prefix is compiled in (codexd looks for its programs there), so it comes before the build.
install: $(BUILD)/build.ninja
	@$(TURN) meson setup --reconfigure $(BUILD) --prefix=$(PREFIX) >/dev/null
	@$(NINJA)
	@DESTDIR=$(abspath $(DESTDIR)) $(TURN) meson install --quiet -C $(BUILD) --no-rebuild

clean:
	@rm -rf build build-*
