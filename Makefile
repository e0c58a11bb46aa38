# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.PHONY: help setup demo test lint bench chaos release build

WITH_ENV := . .ci/env

help:
	@echo 'make demo       three nodes, a real PostgreSQL, an agent loop, an approval, a revocation (KEEP=1 leaves it running)'
	@echo 'make test       all tests, with real servers and clients'
	@echo 'make lint       formatting, clippy with warnings denied, dependency rules'
	@echo 'make chaos      the full set of attacks on real nodes (root; about 15 minutes)'
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
	cargo nextest run --locked --workspace --no-fail-fast

chaos: setup
	@$(WITH_ENV)
	cargo build --locked -p server -p chaos
	cargo nextest run --locked -p server -p chaos -E 'package(chaos) & test(promises::)' --run-ignored all --retries 0 --no-fail-fast --success-output immediate

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
