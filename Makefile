# Every target runs the same way here and in CI.

GOFUMPT     := mvdan.cc/gofumpt@v0.12.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
ACTIONLINT  := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
GORELEASER  := github.com/goreleaser/goreleaser/v2@v2.15.2
KO          := github.com/google/ko@v0.19.1

GO       ?= go
FUZZTIME ?= 60s

# As everything that is released is compiled: the pipeline, its tests and the programs that both compile then share one
# compiled standard library and one of each module. What bench measures it does not decide.
SHARING := build test test-full test-short race lint golden browser repro
$(SHARING): export GOFLAGS += -trimpath
$(SHARING): export CGO_ENABLED ?= 0

# go vet, with every dependency's facts, is part of lint. The packages whose tests take longest start first, and more than
# one package for each core is under way, since many wait: for a process, a server, a lock. Where processes are slow to start,
# one of them was seen to take ten minutes, after which the Go command ends it by itself.
TEST    = .ci/in-memory $(GO) test -vet=off -timeout 30m -p $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2))))
TESTED := ./pipeline/cli ./pipeline/reproduce ./pipeline/publish/... ./pipeline/format/inspect ./... ./.ci/plot

.DEFAULT_GOAL := help
.PHONY: help build test test-full test-short race lint fmt bench fuzz golden readers browser repro

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build this commit's release for this machine, with Go and git alone: 1 to 3 min the first time, then seconds
	$(GO) run ./ci build --standalone --targets host

test: ## Run the tests: 4 to 6 min with nothing compiled on two cores, 3 min compiled, seconds where nothing changed
	$(TEST) $(TESTED)

test-full: ## Run the tests that have more cases with all of them, and Helm's client against ours: 5 min after make test
	bash .ci/full $(TEST)

test-short: ## Run the tests that take no time: 1 min compiled
	$(TEST) -short $(TESTED)

# Of the packages whose own code runs something beside something else, or keeps others out meanwhile. Whatever they call is watched
# with them. pipeline/cli, which everything would be compiled again for, has counters and lists of which each has its own element.
RACED = $(addprefix ./,$(shell git grep -lE 'go func|errgroup|sync\.|atomic\.' -- pipeline cmd ':!*_test.go' ':!pipeline/fixture' ':!pipeline/cli' | xargs -n1 dirname | sort -u))

race: ## Run the short tests with the race detector: 2 min with nothing compiled for it
	CGO_ENABLED=1 $(TEST) -race -short $(RACED)

lint: ## Check format, vet, staticcheck and the workflows: 2 min with nothing compiled, 1 min compiled
	@unformatted=$$($(GO) run $(GOFUMPT) -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted (run make fmt):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet -tags full ./... ./.ci/plot
	$(GO) run $(STATICCHECK) -tags full ./... ./.ci/plot
	$(GO) run $(ACTIONLINT) -shellcheck= -pyflakes= .github/workflows/*.yml
	@# With .github/workflows/ci.yml goes action.yml, which it uses. What init writes stands in a golden file.
	for f in simple store-project store; do \
		awk '/^-- / {on = /(release|store)\.yml/; next} on' pipeline/scaffold/testdata/$$f.txtar | $(GO) run $(ACTIONLINT) -shellcheck= -pyflakes= - || exit 1; done
	$(GO) mod verify >/dev/null
	$(GO) mod tidy -diff

fmt: ## Format the code
	$(GO) run $(GOFUMPT) -w $$(git ls-files '*.go')

bench: ## Measure the main job beside a plain go build, GoReleaser and ko, in 20 min, and draw it; BENCH=part for a part
	GORELEASER=$(GORELEASER) KO=$(KO) bash .ci/bench $(BENCH)

fuzz: ## Fuzz every parser of outside bytes, FUZZTIME each
	FUZZTIME=$(FUZZTIME) GO=$(GO) bash .ci/fuzz

golden: ## Rewrite the golden files, the schema and the configuration reference
	bash -c 'for p in $$(git grep -lE "flag.Bool\(\"update\"" -- "*_test.go" | xargs -n1 dirname | sort -u); do $(GO) test ./$$p -update || exit 1; done'

readers: ## Read dist/ with the tools of Debian, Red Hat, Homebrew, snapd and cosign, where they are installed
	bash .ci/readers

browser: ## Read every page in Chromium, with axe-core, where they are there: 2 to 4 min; SCREENSHOTS=folder keeps what they look like
	bash .ci/browser $(TEST)

repro: ## Build this commit, reproduce it under every variation, and print a table
	bash .ci/repro --each
