#!/usr/bin/env bash
# Runs every test of the given modules, with the race detector where a C
# compiler works, and checks that each module also stands without go.work.
# Goes on after a failure, so that one run shows all; exits 1 if anything failed.
#
# usage: test.sh MODULE...      (make test sets up what the tests need)
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

compiles_c() {
  local out
  out=$(mktemp)
  printf '#include <pthread.h>\nint main(void) { return 0; }\n' |
    ${CC:-cc} -x c -o "$out" - >/dev/null 2>&1
  local code=$?
  rm -f "$out"
  return $code
}

race=()
if compiles_c; then
  export CGO_ENABLED=1
  race=(-race)
else
  export CGO_ENABLED=0
  echo "no working C compiler (${CC:-cc}): the tests run without the race detector; install gcc and libc6-dev for it"
fi

# Tests of these packages work through processes of their own, which the race detector
# does not see, and wait for them most of the time: four at once. (make chaos runs
# the stories with it.)
stories='/host/cmd/heimdall$|/host/internal/chaos$'

failed=()
for module in "$@"; do
  cd "$root/$module"
  echo "=== $module: tests"
  mapfile -t outside < <(go list ./... | grep -E "$stories" || true)
  mapfile -t inside < <(go list ./... | grep -vE "$stories" || true)
  if ((${#outside[@]})); then
    go test -shuffle=on -parallel 4 -timeout 10m "${outside[@]}" || failed+=("$module: tests")
  fi
  go test "${race[@]}" -shuffle=on -timeout 10m "${inside[@]}" || failed+=("$module: tests")
  echo "=== $module: without go.work"
  CGO_ENABLED=0 GOWORK=off go vet -trimpath ./... || failed+=("$module: without go.work")
done

echo
if ((${#failed[@]})); then
  printf 'FAILED  %s\n' "${failed[@]}"
  exit 1
fi
echo "ok  every test of $# modules passed in ${SECONDS} s"
