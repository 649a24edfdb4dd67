# What a person does with this repository. Each target first checks that the machine has what it needs, and names it.
.DEFAULT_GOAL := help
SHELL := /bin/bash

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
LISTEN ?= 127.0.0.1:3000

.PHONY: help demo test bench lint generate e2e

help: ## List these targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## Serve examples/crm on this machine, and print three calls to try (LISTEN=127.0.0.1:3000)
	@scripts/needs demo
	@scripts/demo $(LISTEN)

test: ## Everything that needs no root, with a real etcd, API server and controller manager
	@scripts/needs test
	tests/cluster/build --control-plane
	$(MAKE) --no-print-directory lint
	cargo build --workspace --bins
	PORTCULLIS_BINARIES=$(abspath $(TARGET_DIR))/debug scripts/with-clusters cargo test --workspace

bench: ## What guarding a call costs, beside servers that guard nothing
	@scripts/needs demo
	cargo bench --package portcullis-tests --bench guarded

lint: ## Formatting, clippy, and what the dependencies may be
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	scripts/deny

generate: ## Write crds/*.yaml, operator/rbac.yaml and the reference pages again, from the code
	cargo run --quiet --package portcullis-operator -- crds --dir crds --reference docs/resources.md
	cargo run --quiet --package portcullis-operator -- rbac > operator/rbac.yaml
	PORTCULLIS_GENERATE=1 cargo test --quiet --package portcullis-server --test reference

e2e: ## The whole way on a real node (root)
	@scripts/needs e2e
	tests/e2e/run
