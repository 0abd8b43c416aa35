#!/usr/bin/env bash
# Builds the S3 server that tests store objects in, where it is missing or older
# than its module, and prints its path. The first time takes about two minutes.
#
# usage: s3.sh
set -euo pipefail
cd "$(dirname "$0")/.."

self=s3.sh
binary=$PWD/bin/tools/versitygw
module=scripts/versitygw
mkdir -p bin/tools
exec 9>bin/tools/.versitygw.lock
flock 9 # tests of several packages ask at once
if [ ! -x "$binary" ] || [ $module/go.mod -nt "$binary" ] || [ $module/go.sum -nt "$binary" ]; then
	echo "$self: building the S3 server for tests" >&2
	(cd $module && env GOWORK=off CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$binary.new" \
		github.com/versity/versitygw/cmd/versitygw) >&2 || { echo "$self: the S3 server could not be built; see above" >&2; exit 1; }
	touch "$binary.new"
	mv "$binary.new" "$binary"
fi
echo "$binary"
