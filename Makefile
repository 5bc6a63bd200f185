# Targets for people: demo, build, test. Everything else serves those who change the code.
# GO may name another toolchain. Nothing here needs more than Go, make and, for what is missing, root or sudo.

export GO ?= go
# Programs, checks and tests are compiled alike, so that nothing is compiled twice but for the race detector, which wants cgo.
# -buildvcs=false: a clone that belongs to another user than the one who builds must build as well.
export CGO_ENABLED := 0
export GOFLAGS := -buildvcs=false -trimpath
GOBUILD := $(GO) build -ldflags='-s -w'
GOTEST := $(GO) test -timeout 30m
GOTOOL := $(GO) tool -modfile=internal/tools/go.mod
GORUN := $(GO) run
# Runs tests as `go test`, and remembers which have passed: docs/dcs.md is held to it.
EVIDENCE := $(GORUN) ./internal/evidence
RECORD := out/tests.json

# The simulator is compute-bound: under the race detector it would take most of the time that `make test` has. The others wait for most
# of theirs. They are started in this order: the end-to-end tests take the longest.
SIM := ./ha/hatest/...
NOT_SIM = ./e2e ./postgres/instance ./dcs/... $$($(GO) list ./... | grep -v '/ha/hatest')
SEEDS ?= 20000

# Servers of other projects that tests run, each built from a module of its own: bin/tools/NAME from internal/tools/NAME.
TOOLS := $(patsubst internal/tools/%/go.mod,bin/tools/%,$(wildcard internal/tools/*/go.mod))

.PHONY: build test test-servers test-sim check demo bench bench-calm bench-failover bench-dcs chaos sim test-majors tools packages-test packages-demo clean

build:
	$(GOBUILD) -o bin/ ./cmd/tanist ./cmd/tanistctl

# All tests, with real servers; installs what they need. .ci/run calls this.
test: packages-test tools check
	@mkdir -p $(dir $(RECORD)) && rm -f $(RECORD)
	$(MAKE) -j2 test-servers test-sim
	$(EVIDENCE) check $(RECORD) docs/dcs.md

test-servers:
	CI=true CGO_ENABLED=1 $(EVIDENCE) run $(RECORD) -timeout 30m -count=1 -race -p 3 $(NOT_SIM)

# In what time the others leave.
test-sim: log := $(dir $(RECORD))sim.log
test-sim:
	@CI=true nice $(EVIDENCE) run $(RECORD) -timeout 30m -count=1 -v $(SIM) >$(log) 2>&1; code=$$?; cat $(log); exit $$code

# What a reader should not have to look for.
check:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go' 2>/dev/null || find . -name '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(GOTOOL) staticcheck ./...
	$(GOTEST) ./internal/layering/

# Three members on this machine that fail over and switch over. DEMO=--once ends it after the story.
demo: packages-demo build
	bin/tanist demo $(DEMO)

# Memory, CPU and requests of an idle cluster; start-up times; size of the binaries.
bench: packages-test build
	$(GORUN) ./bench/footprint $(BENCH)

# Write outages and lost rows under every kind of failure, as JSON lines and a table. BENCH='-sabotage no-guard' must fail: it shows that the
# benchmark would see two servers that acknowledge. On another store: BENCH='-store zookeeper' (for consul: make tools first).
bench-failover: packages-test build
	$(GORUN) ./bench/failover $(BENCH)

# A healthy cluster under pgbench and busy loops, in which nothing may happen: make bench-calm BENCH='-for 1h'
bench-calm: packages-test build
	$(GORUN) ./bench/calm $(BENCH)

# What a cluster in steady state asks of its store, on each store: BENCH='-store etcd -members 3' is one of them.
bench-dcs: packages-test tools build
	$(GORUN) ./bench/dcs $(BENCH)

# The scenarios of the guard, those that measure what no promise is made about, and the whole story on each store.
chaos: packages-test tools
	CI=true CHAOS=1 $(GOTEST) -timeout 0 -count=1 -v -run 'Guard|Failsafe|TestStores|TestRenewals' ./e2e/

# More seeds of the simulator than `make test` runs: make sim SEEDS=100000
sim:
	$(GOTEST) -timeout 0 -run 'TestSeeds|TestMutants' -v $(SIM) -args -sim.seeds=$(SEEDS)

# The tests that run PostgreSQL, on other majors too: make test-majors PG_BINS=/usr/lib/postgresql/17/bin:/usr/lib/postgresql/18/bin
test-majors: packages-test tools
	@test -n "$(PG_BINS)" || { echo "name the bin folders of the other versions: make test-majors PG_BINS=DIR:DIR" >&2; exit 2; }
	CI=true PG_BINS="$(PG_BINS)" $(GOTEST) -count=1 ./postgres/... ./internal/... ./cmd/... ./e2e/...

# Minutes the first time: Consul is a large program.
tools: $(TOOLS)

bin/tools/%: internal/tools/%/go.mod internal/tools/%/go.sum
	@mkdir -p $(@D)
	$(GO) build -C internal/tools/$* -ldflags='-s -w' -o $(CURDIR)/$@ tool

packages-test:
	@scripts/install-packages test

packages-demo:
	@scripts/install-packages demo

clean:
	rm -rf bin out
