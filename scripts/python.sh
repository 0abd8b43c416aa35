#!/usr/bin/env bash
# Makes sure that Debian's Python can run plugins: installs gRPC and protobuf for
# it where they are missing and this user may.
#
# usage: python.sh
set -euo pipefail

self=python.sh
packages=(python3 python3-grpcio python3-protobuf)
works() { /usr/bin/python3 -c 'import grpc.aio, google.protobuf' 2>/dev/null; }

! works || exit 0
as=
if [ "$(id -u)" != 0 ]; then
	as="sudo -n"
	$as true 2>/dev/null || as=
fi
if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || [ -n "$as" ]; }; then
	echo "$self: installing Debian's ${packages[*]}" >&2
	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	{
		$as env DEBIAN_FRONTEND=noninteractive apt-get -q update &&
			$as env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${packages[@]}"
	} >"$log" 2>&1 </dev/null || tail -n 3 "$log" >&2
fi
works || { echo "$self: plugins in Python need ${packages[*]}: apt-get install ${packages[*]}" >&2; exit 1; }
