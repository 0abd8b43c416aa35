# `make help` lists what there is. The first two to know: `make demo`, `make test`.

ifndef VERSION
VERSION := $(shell sh scripts/version.sh)
endif
BIN   ?= $(CURDIR)/bin
TOOLS := $(CURDIR)/bin/tools

# Every module of go.work, and the plugins that are shipped: faulty only
# misbehaves on request, for tests.
MODULES := sdk sdk/sql host $(patsubst %/go.mod,%,$(wildcard plugins/*/go.mod))
PLUGINS := $(filter-out faulty,$(patsubst plugins/%/go.mod,%,$(wildcard plugins/*/go.mod)))

# Static binaries need no C compiler, and a tree without history, or that belongs
# to another user, builds as well.
export CGO_ENABLED := 0
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)
BUILD := build -trimpath -ldflags '-s -w \
	-X main.version=$(VERSION) -X github.com/heimdall-run/heimdall/sdk.version=$(VERSION)'

# The tools are rebuilt when their versions change, or Go's.
TOOLS_BUILT := $(TOOLS)/.built-$(shell go env GOVERSION)

PROTOCOL := $(CURDIR)/plugins/examples/python/protocol.binpb

# What make chaos does: of what faults how many, and how often the fault tests.
# The seed is printed; parts of it run by themselves: CHAOS='-faults 0 -host-killed 50 -seed 7' CHAOS_COUNT=0
CHAOS       ?= -faults 0 -host-killed 1000 -plugin-killed 1000 -postgresql-killed 100 -host-frozen 200 -cut-before-commit 250 -cut-after-commit 250
CHAOS_COUNT ?= 20
BENCH ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help build run demo test bench chaos lint generate tools clean FORCE

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: $(BIN)/heimdall $(PLUGINS:%=$(BIN)/plugins/heimdall-plugin-%) ## build bin/heimdall and bin/plugins/

run: build ## build, then run the host in the foreground on configs/heimdall.toml
	exec $(BIN)/heimdall server --config configs/heimdall.toml

demo: build ## build, then run a ping and a shell job on a host of its own
	@go run -trimpath ./host/internal/demo -bin '$(BIN)'

test: build ## run every test, on throw-away servers of PostgreSQL and S3 too
	@scripts/python.sh
	@scripts/s3.sh >/dev/null
	@scripts/with-postgres.sh --fast scripts/test.sh $(MODULES)

bench: build $(BIN)/faulty/heimdall-plugin-faulty ## measure against limits and peers: a table, and bench/out.json (BENCH=name selects)
	@mkdir -p bench
	@scripts/with-postgres.sh go run -trimpath ./host/internal/bench -bin '$(BIN)' -out bench/out.json -only '$(BENCH)'

chaos: build $(BIN)/faulty/heimdall-plugin-faulty ## thousands of faults under real hosts, then the fault tests again and again
	@go run -trimpath ./host/internal/chaos -bin '$(BIN)' $(CHAOS)
	@[ '$(CHAOS_COUNT)' = 0 ] || scripts/with-postgres.sh --fast scripts/chaos.sh '$(CHAOS_COUNT)'

lint: tools ## check format, vet, staticcheck, protocol, scripts and go.mod files
	@PATH='$(TOOLS)':"$$PATH" scripts/lint.sh $(MODULES)

# The protocol as it was generated last is what the Python example knows, and what
# a change is held against: plugins in use must go on to work.
generate: tools ## write sdk/pluginpb, and what the Python example knows, from proto/
	cd proto && PATH='$(TOOLS)':"$$PATH" buf breaking --against '$(PROTOCOL)'
	cd proto && PATH='$(TOOLS)':"$$PATH" buf generate --clean
	cd proto && PATH='$(TOOLS)':"$$PATH" buf build --exclude-source-info --as-file-descriptor-set -o '$(PROTOCOL)'

tools: $(TOOLS_BUILT) ## build the pinned tools into bin/tools

clean: ## remove what was built; data/ stays
	rm -rf bin bench/out.json

# go build knows best what is up to date.
$(BIN)/heimdall: FORCE
	go -C host $(BUILD) -o $@ ./cmd/heimdall

$(BIN)/plugins/heimdall-plugin-%: FORCE
	go -C plugins/$* $(BUILD) -o $@ .

# For bench and chaos: it never lies beside the plugins that are shipped.
$(BIN)/faulty/heimdall-plugin-faulty: FORCE
	go -C plugins/faulty $(BUILD) -o $@ .

$(TOOLS_BUILT): scripts/tools/go.mod scripts/tools/go.sum
	@echo 'building the tools: about two minutes the first time'
	GOWORK=off go -C scripts/tools build -o $(TOOLS)/ tool
	@rm -f $(TOOLS)/.built-*
	@touch $@
