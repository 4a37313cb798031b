# Everything that must hold before a change goes in: `make test`.
GO ?= go
# The torture tests of it/ need a real Kafka. Without Java, Maven or
# PROCD_IT_BROKERS they are skipped, saying so; PROCD_IT=require forbids that.
UNIT = $$($(GO) list ./... | grep -v '/it$$')

.PHONY: test lint unit it build bench

build:
	$(GO) build -trimpath -ldflags "-s -w" -o bin/ ./cmd/...

lint:
	@unformatted="$$(gofmt -l .)"; if [ -n "$$unformatted" ]; then \
		echo "gofmt -w $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

# Tests of allocations mean nothing under the race detector.
ALLOC = -run Alloc ./bench ./codec ./config/... ./kstate ./topology

test: lint
	@{ $(GO) test -json $(ALLOC); $(GO) test -json -race $(UNIT); $(GO) test -json -timeout 25m ./it; } | $(GO) run ./scripts/gotest

unit: lint
	@{ $(GO) test -json $(ALLOC); $(GO) test -json -race $(UNIT); } | $(GO) run ./scripts/gotest

it:
	@$(GO) test -json -timeout 25m ./it | $(GO) run ./scripts/gotest

# Everything of bench/README.md, against its peers; BENCH="-quick -run count"
# for less. It fails when procd falls behind the recorded ratios.
bench:
	$(GO) run ./bench $(BENCH)
