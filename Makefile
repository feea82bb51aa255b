# Two commands are enough on a fresh Debian machine: make demo, make test. Each installs what it needs.
SHELL := /bin/bash
PREFIX ?= /usr/local
DATA ?= /var/lib/skerry

.PHONY: demo test samples install uninstall bench check docs openapi setup setup-test fuzz clean

setup: ## what apt and npm have to give, and what is built from source
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh --with-test-tools

demo: setup-test ## the main job, shown: a guest of each kind, an answer from each, times beside the engines by hand, a kill -9 survived
	@scripts/demo.sh

check: setup ## types, lint, the rules of the house; no guests
	@npx --no-install tsc --noEmit && npx --no-install biome check .

samples: setup-test ## more guests to try: a machine with a screen, one of another architecture
	@scripts/setup-guests.sh

test: setup-test samples ## everything; the last line counts
	@scripts/test.sh

docs: setup ## the pages of docs/reference, from the code
	@node scripts/docs.mjs

openapi: setup ## openapi/skerry.json, from the route table
	@UPDATE_OPENAPI=1 npx --no-install vitest run apps/controller/src/http/http.test.ts -t 'the copy in openapi/'

bench: setup-test ## the promises of SPECIFICATION.md, peers beside them
	@scripts/bench.sh

fuzz: setup ## an hour of hostile packets against pebble
	@PEBBLE_FUZZ_SECONDS=3600 npx --no-install vitest run guests/pebble/test/fuzz

install: setup ## skerry, its systemd unit and its data folder
	@scripts/install.sh "$(DESTDIR)" "$(PREFIX)" "$(DATA)"

uninstall:
	@scripts/install.sh --remove "$(DESTDIR)" "$(PREFIX)" "$(DATA)"

clean: ## what was built; not what was installed
	@rm -rf dist .setup guests/*/build packages/*/native/build
