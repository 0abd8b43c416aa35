#!/usr/bin/env bash
# The other half of make chaos: every package that kills, cuts, races or
# recovers, COUNT times over in a new order each time; then longer histories of
# the stores, and virtual days of hosts. Stops at the first failure.
#
# usage: chaos.sh COUNT      (make chaos sets up what the tests need)
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:?usage: chaos.sh COUNT}

export CGO_ENABLED=1

longer() {
  local module=$1
  shift
  echo "=== $module: $*, $count times"
  go -C "$module" test -race -shuffle=on -count="$count" -timeout 2h "$@"
}

longer sdk . ./internal/child
longer plugins/shell .
# Every broken plugin against every case of the check, once: nothing varies.
HEIMDALL_TEST_ZOO=all go -C host test -timeout 1h -run TestBrokenFailTheirCase ./internal/conformance
RAPID_CHECKS=$((50 * count)) RAPID_STEPS=100 \
  go -C host test -timeout 2h -run 'Test(SQLite|Postgres)/any_history' ./internal/store
# Each round prints its seed and its figures.
HEIMDALL_TEST_HOURS=20 go -C host test -count="$count" -timeout 2h -v -run TestSimulation ./internal/queue/sim |
  grep -v '^=== '
longer host ./internal/store/... ./internal/pluginhost/... ./internal/runner/... ./internal/queue/... ./internal/jobs/... ./cmd/heimdall/...
echo "ok  $count rounds in ${SECONDS} s"
