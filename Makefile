# SPDX-License-Identifier: Apache-2.0
# Two commands do all the set-up: `make demo` and `make test`. Every target installs what it needs.

GO ?= go
BUILD := build
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

# What `make net` leaves to targets of their own: a browser, and emulated machines.
LATER := /testbed/luci|/testbed/qemu

# What says its licence in the first lines: all but prose, JSON, which has no comments, pictures and data of tests.
CODE := ':!*.md' ':!*.json' ':!*.svg' ':!*/testdata/*' ':!LICENSE' ':!go.mod' ':!go.sum' ':!*.npmrc' ':!.gitignore' ':!*.keep'

.PHONY: all help demo test lint unit net joined scenarios scripts kills soak matrix fuzz bench bench-policy bench-relay bench-setup cross sizes packages test-cross routers held qemu qemu-be kernels deps
all: $(BUILD)/spillway $(BUILD)/spillway-concentrator

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

$(BUILD)/spillway: FORCE
	@mkdir -p $(BUILD)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o $@ .
$(BUILD)/spillway-concentrator: FORCE
	@mkdir -p $(BUILD)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o $@ ./concentrator/cmd/spillway-concentrator
FORCE:

deps:
	@sh testbed/deps

## demo         the main job, live, on network namespaces; ends with a table and build/demo.json
demo: deps all
	$(GO) build -o $(BUILD)/demo ./testbed/cmd/demo
	$(BUILD)/demo

## test         everything that a change must pass: lint, unit, net, routers
test: lint unit net routers

# The second vet compiles the tests that test-cross runs for 32 bits.
## lint         gofmt, vet, staticcheck, licences, known vulnerabilities
lint: deps
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt: the files above are not formatted: gofmt -w ."; exit 1; }
	$(GO) vet ./...
	GOARCH=mips $(GO) vet $$($(GO) list ./... | grep -v /testbed)
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.1 ./...
	@missing=$$(git ls-files $(CODE) | xargs grep -L 'SPDX-License-Identifier: Apache-2.0'); test -z "$$missing" || { echo "no SPDX line in: $$missing"; exit 1; }
	$(GO) run ./cross/cmd/audit
	@GO="$(GO)" sh testbed/vuln

## unit         unit tests and fuzz seeds, with the race detector
unit: deps
	$(GO) test -race -short ./...

## net          tests on namespaces, with the real kernel
net: all
	@sh testbed/deps busybox lua5.1 squashfs-tools xz-utils microsocks dante-server mptcpize dnsmasq-base iptables haproxy
	CGO_ENABLED=0 $(GO) run ./testbed/cmd/nettest '-skip=^TestBudget$$' $$($(GO) list ./... | grep -Ev '$(LATER)')
	CGO_ENABLED=0 $(GO) test -count=1 -v -run '^TestBudget$$' ./cross

## joined       the pages in a browser, on a real daemon; screenshots in build/screens
joined: all
	@command -v chromium >/dev/null || sh testbed/deps chromium fonts-dejavu-core
	@command -v node >/dev/null || sh testbed/deps nodejs npm
	CGO_ENABLED=0 $(GO) test -count=1 -v ./testbed/luci

## scenarios    all scenarios, with the aims beside the figures
scenarios: deps all
	$(GO) build -o $(BUILD)/scenario ./testbed/cmd/scenario
	$(BUILD)/scenario all

## scripts      what the simulation of the policy plays (policy/testdata), with real parts (40 min)
scripts: deps all
	$(GO) build -o $(BUILD)/scenario ./testbed/cmd/scenario
	$(BUILD)/scenario $$(grep -L '^window\|^at [^ ]* drag\| video$$\| film$$' policy/testdata/*.txt)

## kills        the daemon killed at every step of its start and of its stop
kills: deps all
	SPILLWAY_BIN=$(CURDIR)/$(BUILD) KILL_EVERY=1 CGO_ENABLED=0 $(GO) test -count=1 -v -run KilledAtEveryStep ./testbed/faults

## soak         churn, flaps and reloads for SOAK (2m); fails when anything grows
SOAK ?= 2m
soak: deps all
	SPILLWAY_BIN=$(CURDIR)/$(BUILD) $(GO) run ./testbed/cmd/soak -for $(SOAK) $(SOAKFLAGS)

## matrix       bonded against the best single link, over rates, delays, loss and buffers
matrix: deps all
	SPILLWAY_BIN=$(CURDIR)/$(BUILD) $(GO) run ./testbed/cmd/matrix -for 15s -json $(BUILD)/matrix.json

## fuzz         every parser for FUZZTIME (20s) each
FUZZTIME ?= 20s
fuzz:
	@sh testbed/fuzz $(FUZZTIME)

## bench-policy what overflow and failover reach; build/bench/policy.json
bench-policy: deps all
	$(GO) run ./testbed/cmd/policybench

## bench-relay  the relay beside others; build/bench/relay.json and docs/BENCHMARKS.md
bench-relay: deps all
	@sh testbed/deps gcc libc6-dev haproxy redsocks microsocks shadowsocks-libev mptcpize ethtool
	$(GO) run ./testbed/cmd/bench $(BENCHFLAGS)

## bench        all benchmarks
bench: bench-relay bench-policy bench-setup

## bench-setup  time to the first octet, by way to the server; build/bench/setup.json
bench-setup: deps all
	@sh testbed/deps microsocks dante-server mptcpize iptables
	$(GO) run ./testbed/cmd/setupbench

## routers      an emulated MIPS and an emulated ARM router boot, relay, fail over, are killed and restarted
routers: all
	@sh testbed/deps qemu-system-mips qemu-system-arm xz-utils
	CGO_ENABLED=0 $(GO) run ./testbed/cmd/nettest -timeout=60m '-skip=HeldSYNs|InAPC' -v ./testbed/qemu/...

## held         an emulated x86 router holds SYNs until servers have answered; a command in an emulated PC
held: all
	@sh testbed/deps qemu-system-x86 xz-utils
	CGO_ENABLED=0 $(GO) test -count=1 -v -run 'HeldSYNs|InAPC' ./testbed/qemu

## qemu         emulated routers: GUEST=name,..., SCENARIO="name ..."; none: all guests, the matrix (docs/ROUTERS.md; an hour)
qemu: all
	@sh testbed/deps qemu-system-mips qemu-system-arm qemu-system-x86 xz-utils
	$(GO) build -o $(BUILD)/qemu-run ./testbed/cmd/qemu
	$(BUILD)/qemu-run run -guest "$(GUEST)" $(SCENARIO)

## qemu-be      build a big-endian MIPS kernel (20 minutes, once) and run on it
qemu-be: all
	@sh testbed/deps qemu-system-mips xz-utils
	sh testbed/qemu/build-be $(BUILD)/qemu
	$(GO) run ./testbed/cmd/qemu run -guest mips-be $(SCENARIO)

## kernels      the tests of `net` on another kernel, in an emulated PC: KERNEL=amd64-6.1 (amd64-6.12, amd64-newest), PACKAGES="./mptcp ..."
KERNEL ?= amd64-6.1
kernels: all
	@sh testbed/deps qemu-system-x86 xz-utils
	@GO="$(GO)" sh testbed/kernels $(KERNEL) $(PACKAGES)

## cross        all targets, sizes against the budget
cross:
	@sh testbed/deps squashfs-tools xz-utils
	$(GO) run ./cross/cmd/cross table
## sizes        what each dependency costs
sizes:
	$(GO) run ./cross/cmd/cross sizes
## packages     .ipk and .apk in build/packages
packages:
	@sh testbed/deps squashfs-tools xz-utils
	$(GO) run ./cross/cmd/cross packages
## test-cross   unit tests on mips, mipsle, arm and arm64 (qemu-user)
test-cross:
	@sh testbed/deps qemu-user-static
	$(GO) run ./cross/cmd/archtest
