#!/usr/bin/env bash
# Checks what a reviewer should not have to: formats, vet, staticcheck, the
# protocol, the scripts, the go.mod files. Changes nothing; exits 1 if anything
# is to be bettered.
#
# usage: lint.sh MODULE...      (make lint puts the pinned tools on PATH)
set -euo pipefail
cd "$(dirname "$0")/.."

# As the binaries are built: what was compiled for them is not compiled again.
export CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -trimpath"

failed=0
check() {
  local what=$1
  shift
  echo "=== $what"
  "$@" || { failed=1; echo "FAILED  $what"; }
}

formatted() {
  local files
  files=$(gofumpt -l "$@") || return 1
  [ -z "$files" ] || { echo "run gofumpt -w on: $files"; return 1; }
}

# A test that cannot run must fail: nothing may look green that was not tried.
nothing_skipped() {
  ! grep -rnE --include='*_test.go' '\.Skip(f|Now)?\(' "$@"
}

scripts_parse() {
  local script
  for script in .ci/run scripts/*.sh; do
    bash -n "$script" || return 1
    [ -x "$script" ] || { echo "$script is not executable: chmod +x $script"; return 1; }
  done
}

in_proto() (cd proto && "$@")
in_module() (cd "$1" && shift && "$@")

check "format" formatted "$@"
check "skipped tests" nothing_skipped "$@"
check "scripts" scripts_parse
check "protocol: lint" in_proto buf lint
check "protocol: compatible" in_proto buf breaking --against ../plugins/examples/python/protocol.binpb
check "protocol: format" in_proto buf format --diff --exit-code
for module in "$@"; do
  check "$module: vet" in_module "$module" go vet ./...
  check "$module: staticcheck" in_module "$module" staticcheck ./...
  check "$module: go.mod" in_module "$module" env GOWORK=off go mod tidy -diff
done
for module in scripts/tools scripts/versitygw; do
  check "$module: go.mod" in_module "$module" env GOWORK=off go mod tidy -diff
done

[ $failed = 0 ] && echo "ok  lint in ${SECONDS} s"
exit $failed
