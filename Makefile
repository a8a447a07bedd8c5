# SPDX-License-Identifier: Apache-2.0
# Two commands do all the set-up: `make demo` and `make test`. Every target installs what it needs.

GO ?= go
BUILD := build
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
# Packages whose tests use network namespaces run one after the other, without the race detector.
NETPKGS ?= ./...

.PHONY: all demo test lint unit net deps
all: $(BUILD)/spillway $(BUILD)/spillway-concentrator

$(BUILD)/spillway: FORCE
	@mkdir -p $(BUILD)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o $@ .
$(BUILD)/spillway-concentrator: FORCE
	@mkdir -p $(BUILD)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o $@ ./concentrator/cmd/spillway-concentrator
FORCE:

deps:
	@sh testbed/deps

demo: deps all
	$(GO) build -o $(BUILD)/demo ./testbed/cmd/demo
	$(BUILD)/demo

test: lint unit net

lint: deps
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt: the files above are not formatted: gofmt -w ."; exit 1; }
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.1 ./...
	@missing=$$(git ls-files '*.go' | xargs grep -L 'SPDX-License-Identifier: Apache-2.0'); test -z "$$missing" || { echo "no SPDX line in: $$missing"; exit 1; }

unit: deps
	$(GO) test -race -short ./...

net: deps all
	CGO_ENABLED=0 $(GO) test -p 1 -count=1 $(NETPKGS)
