# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.PHONY: help setup demo test lint bench chaos volume mutants release build

WITH_ENV := . .ci/env

help:
	@echo 'make demo       three nodes, a real PostgreSQL, an agent loop, an approval, a revocation (KEEP=1 leaves it running)'
	@echo 'make test       all tests, with real servers and clients'
	@echo 'make lint       formatting, clippy with warnings denied, dependency rules'
	@echo 'make chaos      the full set of attacks on real nodes (root; about 35 minutes)'
	@echo 'make volume     20,000 revocations and 100,000 approval races on real nodes (root; hours)'
	@echo 'make mutants    every planted bug, until the simulation of the code catches it (chaos/README.md)'
	@echo 'make bench      the figures of bench/README.md'
	@echo 'make release    an optimised assize binary'

setup:
	@.ci/packages
	.ci/rocksdb-archive

build: setup
	@$(WITH_ENV)
	cargo build --locked -p server

demo: setup
	@echo 'assize: building three things once: RocksDB (about 22 minutes, cached), the crates we use (about 10), Assize (about 2)'
	$(WITH_ENV)
	cargo build --locked -p server
	chaos/demo/run "$$CARGO_TARGET_DIR/debug/assize" $(if $(KEEP),--keep)

test: setup
	@$(WITH_ENV)
	.ci/clients
	cargo build --locked -p server -p chaos
	status=0
	cargo nextest run --locked --workspace --no-fail-fast 2>&1 | tee "$$CARGO_TARGET_DIR/tests.log" || status=$$?
	.ci/threats "$$CARGO_TARGET_DIR/tests.log" || status=$$?
	exit $$status

chaos: setup
	@$(WITH_ENV)
	cargo build --locked -p server -p chaos
	cargo nextest run --locked -p server -p chaos -E 'package(chaos) & (test(promises::) | test(points::)) - test(in_volume::)' --run-ignored all --retries 0 --no-fail-fast --success-output immediate

# Revocations and races by the ten thousand; fewer with REVOCATIONS=… and RACES=….
volume: setup
	@$(WITH_ENV)
	cargo build --locked -p server -p chaos
	cargo nextest run --locked -p server -p chaos -E 'package(chaos) & test(in_volume::)' --run-ignored only --retries 0 --no-fail-fast --success-output immediate

# One line a bug: the first seed that shows it, and the promise it breaks.
mutants: setup
	@$(WITH_ENV)
	cargo nextest run --locked --workspace -E 'package(sim) & test(every_planted_bug_is_caught)' --run-ignored all --retries 0 --no-capture

lint: setup
	@$(WITH_ENV)
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

bench: setup
	@$(WITH_ENV)
	.ci/clients
	cargo build --locked --release -p server -p bench
	"$$CARGO_TARGET_DIR/release/bench" all

release: setup
	@$(WITH_ENV)
	cargo build --locked --release -p server
	echo "$$CARGO_TARGET_DIR/release/assize"
