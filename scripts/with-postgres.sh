#!/usr/bin/env bash
# Runs a command with HEIMDALL_TEST_POSTGRES set to a PostgreSQL that tests may
# fill: the one already named there, or a throw-away cluster that is gone when
# the command has ended.
#
#   scripts/with-postgres.sh [--fast] COMMAND [ARGUMENT…]
#
# --fast turns durability off: for tests, never for benchmarks.
set -euo pipefail

self=with-postgres.sh
die() { echo "$self: $*" >&2; exit 1; }

fast=
if [ "${1-}" = --fast ]; then fast=1; shift; fi
[ $# -gt 0 ] || die "usage: $self [--fast] COMMAND [ARGUMENT…]"
[ -z "${HEIMDALL_TEST_POSTGRES-}" ] || exec "$@"

root=$(cd "$(dirname "$0")/.." && pwd)
dir= container= child=

# binaries prints the folder of the newest server installed, or nothing.
binaries() {
	local b
	for b in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -Vr) \
		"$(dirname "$(command -v postgres || echo /nowhere/postgres)")"; do
		if [ -x "$b/initdb" ] && [ -x "$b/postgres" ] && [ -x "$b/pg_ctl" ]; then
			echo "$b"
			return
		fi
	done
}

# install gets Debian's server when this user may install it.
install() {
	local as=
	command -v apt-get >/dev/null || return 1
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null && sudo -n true 2>/dev/null || return 1
		as="sudo -n"
	fi
	echo "$self: installing Debian's postgresql" >&2
	local log
	log=$(mktemp)
	if ! { $as env DEBIAN_FRONTEND=noninteractive apt-get -q update &&
		$as env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends postgresql; } >"$log" 2>&1 </dev/null; then
		tail -n 3 "$log" >&2
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
}

# plain runs a command as a user that the server accepts: it refuses root.
plain() {
	if [ "$(id -u)" != 0 ]; then
		"$@"
	elif command -v setpriv >/dev/null; then
		setpriv --reuid="$owner" --regid="$(id -g "$owner")" --clear-groups env HOME="$dir" "$@"
	elif command -v runuser >/dev/null; then
		runuser -u "$owner" -- env HOME="$dir" "$@"
	else
		su -s /bin/sh "$owner" -c 'exec "$0" "$@"' -- "$@"
	fi
}

clean() {
	trap - EXIT
	if [ -n "$dir" ]; then
		[ ! -f "$dir/data/postmaster.pid" ] ||
			(cd "$dir" && plain "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1) || true
		rm -rf "$dir"
	fi
	[ -z "$container" ] || docker rm -f "$container" >/dev/null 2>&1 || true
}

port() { echo $((20000 + (RANDOM * 32768 + RANDOM) % 12000)); }

# cluster makes and starts a cluster of the local binaries, and sets url.
cluster() {
	owner=$(id -un)
	if [ "$owner" = root ]; then
		owner=postgres
		id -u postgres >/dev/null 2>&1 || owner=nobody
	fi
	dir=$(mktemp -d "${TMPDIR:-/tmp}/heimdall-pg.XXXXXX")
	local password
	password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
	printf '%s\n' "$password" >"$dir/password"
	[ "$(id -u)" != 0 ] || chown -R "$owner" "$dir"
	cd "$dir" # the server's user may not be able to enter the caller's folder
	plain "$bin/initdb" -D "$dir/data" -U heimdall -A scram-sha-256 --pwfile="$dir/password" \
		--locale=C --encoding=UTF8 --no-sync >"$dir/init.log" 2>&1 ||
		die "initdb: $(tail -n 1 "$dir/init.log")"
	{
		echo "listen_addresses = '127.0.0.1'"
		echo "unix_socket_directories = '$dir'"
		echo "max_connections = 200"
		echo "max_wal_size = 2GB"
		[ -z "$fast" ] || printf '%s = off\n' fsync synchronous_commit full_page_writes
	} >>"$dir/data/postgresql.conf"
	local try p
	for try in 1 2 3 4 5 6 7 8; do
		p=$(port)
		if plain "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -o "-p $p" -w -t 60 start >/dev/null 2>&1; then
			url="postgres://heimdall:$password@127.0.0.1:$p/postgres?sslmode=disable"
			cd "$back"
			return
		fi
	done
	die "the server does not start: $(grep -E 'FATAL|ERROR' "$dir/log" 2>/dev/null | tail -n 1)"
}

# compose starts the database of compose.yaml, and sets url.
compose() {
	command -v docker >/dev/null && docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1 || return 1
	[ -f "$root/compose.yaml" ] || return 1
	local p password service
	p=$(port)
	password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
	service=$(docker compose -f "$root/compose.yaml" config --services 2>/dev/null | grep -m1 -E 'postgres|database|db') || return 1
	container=heimdall-test-$$
	docker compose -f "$root/compose.yaml" run -d --rm --no-deps --name "$container" -p "127.0.0.1:$p:5432" \
		-e POSTGRES_USER=heimdall -e POSTGRES_PASSWORD="$password" -e POSTGRES_DB=postgres \
		-e PGDATA=/var/lib/postgresql/tests \
		"$service" -c max_connections=200 >/dev/null 2>&1 || return 1
	local try
	for try in $(seq 60); do
		if docker exec "$container" pg_isready -q -h 127.0.0.1 -U heimdall 2>/dev/null; then
			url="postgres://heimdall:$password@127.0.0.1:$p/postgres?sslmode=disable"
			return
		fi
		sleep 1
	done
	return 1
}

trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

back=$PWD
bin=$(binaries)
[ -n "$bin" ] || { install && bin=$(binaries); } || true
if [ -n "$bin" ]; then
	cluster
else
	compose || die "no PostgreSQL for the tests: install its server (Debian: apt-get install postgresql), start docker, or set HEIMDALL_TEST_POSTGRES=postgres://…"
fi

# A process group of its own: signals reach all of the command, and it does not
# inherit an ignored SIGINT as a plain background job would.
set -m
HEIMDALL_TEST_POSTGRES=$url "$@" <&0 &
child=$!
set +m
trap 'kill -INT -- -$child 2>/dev/null || true' INT
trap 'kill -TERM -- -$child 2>/dev/null || true' TERM HUP
code=0
while :; do
	wait "$child" && code=0 || code=$?
	kill -0 "$child" 2>/dev/null || break # a signal ends wait before the command
done
exit "$code"
