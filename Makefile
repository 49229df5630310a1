# A thin front for Meson. `make` builds, `make demo` shows, `make check` tests, `make bench` measures.
BUILD  ?= build
PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: all setup check install clean

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@meson setup $(BUILD) --prefix=$(PREFIX) >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log

setup:
	@scripts/setup

check: setup
	@tests/run

install: all
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

clean:
	@rm -rf build build-*
