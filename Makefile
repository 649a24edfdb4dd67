# What a person does with this repository. Each target first checks that the machine has what it needs, and names what is
# missing.
.DEFAULT_GOAL := help
SHELL := /bin/bash

LISTEN ?= 127.0.0.1:3000
IMAGE_REPOSITORY ?= localhost
IMAGE_TAG ?=
EXAMPLE ?=

.PHONY: help demo test bench lint generate images e2e

help: ## List these targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## Serve examples/crm on this machine, and print three calls to try (LISTEN=127.0.0.1:3000)
	@scripts/needs demo
	@set -m; scripts/demo $(LISTEN); exit $$?

test: ## Lint, and every test that needs no root; a failure stops nothing, and the last lines name it
	@scripts/needs test
	@scripts/check test

bench: ## The cost of guarding a call, compared with servers that guard nothing
	@scripts/needs demo
	cargo bench --package portcullis-tests --bench guarded

lint: ## Formatting, clippy, the licences and sources of dependencies, and shell scripts
	@scripts/check lint

generate: ## Write the CRDs, the RBAC rules and the reference pages from the code
	cargo run --quiet --package portcullis-operator -- crds --dir crds --reference docs/resources.md --contract docs/contract.md
	cargo run --quiet --package portcullis-operator -- rbac > operator/rbac.yaml
	cargo run --quiet --package portcullis-operator -- crds --dir charts/portcullis/crds
	cargo run --quiet --package portcullis-operator -- rbac --rules charts/portcullis/files/rules.yaml
	PORTCULLIS_GENERATE=1 cargo test --quiet --package portcullis-operator --lib metrics::reference
	PORTCULLIS_GENERATE=1 cargo test --quiet --package portcullis-server --test reference

images: ## Build the images of both programs without a container engine (IMAGE_REPOSITORY=localhost IMAGE_TAG=version EXAMPLE=yes)
	@scripts/needs images
	@cargo run --quiet --locked --package portcullis-images -- --repository '$(IMAGE_REPOSITORY)' $(if $(IMAGE_TAG),--tag '$(IMAGE_TAG)') $(if $(EXAMPLE),--example)

e2e: ## The whole system on a real node (needs root)
	@scripts/needs e2e
	@scripts/check e2e
