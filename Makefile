# A thin front for Meson. What a person needs:
#   make demo     see the main job          make check    run every test
#   make          build into build/         make bench    measure
#   make install PREFIX=/usr/local DESTDIR=
BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=

.PHONY: all setup demo check bench fuzz install clean

all: $(BUILD)/build.ninja
	@ninja --quiet -C $(BUILD)

$(BUILD)/build.ninja:
	@meson setup $(BUILD) --prefix=$(PREFIX) >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log

# Lists what it would change on this machine, and asks on a terminal (YES=1 answers).
setup:
	@scripts/setup

demo: setup
	@$(MAKE) --no-print-directory all
	@demo/run

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
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@ninja --quiet -C $(BUILD)
	@DESTDIR=$(DESTDIR) meson install --quiet -C $(BUILD) --no-rebuild

clean:
	@rm -rf build build-*
