# Two commands matter: `make demo` and `make test`. Both install what is missing and say so.
.DEFAULT_GOAL := help
SHELL := /bin/bash
GO ?= go
PATH := $(shell $(GO) env GOPATH)/bin:/usr/local/go/bin:$(PATH)
export PATH

# Sizes and seed of the demo are flags: make demo ARGS="-seed 7 -database 50"
ARGS ?=
CHAOS ?=
DISASTER ?=
KEEP ?=
# What is tortured, from which seed and for how long: make torture PACKAGES=./internal/wal SEED=7 TIME=20m
SEED ?=
TIME ?=
PACKAGES ?=

.PHONY: help tools build demo test lint bench torture clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

tools: ## install the servers that the demo and the tests run
	@tools/install servers

build: ## bin/lifeboat, bin/lifeboat-wal, bin/lifeboat-worker and bin/man
	@mkdir -p bin
	$(GO) build -o bin/lifeboat ./starter
	CGO_ENABLED=0 $(GO) build -o bin/lifeboat-wal ./starter/lifeboat-wal
	$(GO) build -o bin/lifeboat-worker ./worker
	@bin/lifeboat man bin/man

demo: tools ## a real disaster and its recovery (CHAOS=worker|temporal|chunk|chunks, DISASTER=region|drop-table|drill, KEEP=1)
	@CHAOS=$(CHAOS) DISASTER=$(DISASTER) KEEP=$(KEEP) $(GO) run ./examples/frende/cmd/demo $(ARGS)

test: ## everything, with the race detector, against real servers
	@tools/install test
	$(GO) test -race -count=1 -p 3 -timeout 25m ./...

lint: ## gofumpt, golangci-lint with the import rules, workflowcheck
	@tools/install lint
	@test -z "$$(gofumpt -l . | tee /dev/stderr)" || (echo "run: gofumpt -w ." && false)
	golangci-lint run ./...
	workflowcheck -config .workflowcheck.yaml ./workflows/...

bench: tools ## figures: one line each, with what they must and aim to be (ARGS="-only NAME -runs 5")
	@tools/install bench
	@$(GO) run ./examples/frende/cmd/bench $(ARGS)

torture: tools ## the faults of the reliability table at full count, about three hours (SEED=, TIME=150m, PACKAGES=./internal/wal)
	@SEED=$(SEED) TIME=$(TIME) tools/torture $(PACKAGES)

clean: ## end what the lab left running and remove it
	@$(GO) run ./examples/frende/cmd/demo -clean
	@rm -rf bin && echo "removed bin"
