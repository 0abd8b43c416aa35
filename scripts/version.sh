#!/bin/sh
# Prints the version that the binaries are stamped with, always valid semver:
# the newest v* tag (the base below where there is none), and the commit as
# metadata.
set -eu

base=0.1.0
cd "$(dirname "$0")/.."

# A folder that merely lies inside somebody else's repository has no commit.
# The tree may belong to another user than the one who builds: reading is harmless.
git() { command git -c safe.directory="$PWD" "$@" 2>/dev/null; }
if ! command -v git >/dev/null || [ "$(git rev-parse --show-cdup || echo none)" != "" ]; then
  echo "$base"
  exit
fi

described=$(git describe --tags --match 'v[0-9]*' --long --always --dirty || true)
case $described in
  "") echo "$base" ;;
  v*-0-g*-dirty) echo "${described%-0-g*}+dirty" | cut -c2- ;;
  v*-0-g*) echo "${described%-0-g*}" | cut -c2- ;;
  v*-g*) echo "${described%-*-g*}+${described##*-g}" | sed 's/^v//; s/-dirty$/.dirty/' ;;
  *) echo "$base+$described" | sed 's/-dirty$/.dirty/' ;;
esac
