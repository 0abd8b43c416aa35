#!/usr/bin/env bash
# The other half of make chaos: every package that kills, cuts, races or
# recovers, COUNT times over in a new order each time, and the state machine
# tests with many more steps. Stops at the first failure.
#
# usage: chaos.sh COUNT      (make chaos sets up what the tests need)
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:?usage: chaos.sh COUNT}

export CGO_ENABLED=1 RAPID_CHECKS=1000 RAPID_STEPS=100

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
longer host ./internal/store/... ./internal/pluginhost/... ./internal/runner/... ./internal/queue/... ./internal/jobs/... ./cmd/heimdall/...
echo "ok  $count rounds in ${SECONDS} s"
