#!/usr/bin/env bash
# The servers and programs that `make test` needs, from Debian: RabbitMQ, Redis, PostgreSQL, nginx, Prometheus (for
# promtool), Chromium, Node.
#
# What is there is left alone; when nothing is missing, nothing is run. Installing needs root, or sudo without a
# password; else it names what is missing and fails. No service is started (a policy-rc.d forbids it while packages are
# unpacked, and the one that was there is put back), no PostgreSQL cluster is made, and none is used or stopped: the
# tests start private servers.
set -euo pipefail

POLICY=/usr/sbin/policy-rc.d
KEPT=$POLICY.before-livepush
NO_CLUSTER=/etc/postgresql-common/createcluster.d/livepush-tests.conf

have() { PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null 2>&1; }

packages=()
have rabbitmq-server || packages+=(rabbitmq-server)
have redis-server || packages+=(redis-server)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || have initdb || packages+=(postgresql)
have nginx || packages+=(nginx)
have promtool || packages+=(prometheus)
[ -x /lib/systemd/systemd ] || have systemd-analyze || packages+=(systemd)
have chromium || packages+=(chromium)
have node || packages+=(nodejs)
have npm || packages+=(npm)
[ ${#packages[@]} -gt 0 ] || exit 0

fail() {
    echo "The tests need what is missing here: ${packages[*]} (names of Debian packages)." >&2
    echo "$1" >&2
    exit 1
}

have apt-get || fail "There is no apt-get: install them by other means, then run this again."
if [ "$(id -u)" -eq 0 ]; then
    root() { env "$@"; }
elif have sudo && sudo -n true 2>/dev/null; then
    root() { sudo -n env "$@"; }
else
    fail "Not root, and no sudo without a password: sudo apt-get install ${packages[*]}"
fi

apt() {
    root DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

restore() {
    root rm -f "$NO_CLUSTER"
    if root test -e "$KEPT"; then root mv -f "$KEPT" "$POLICY"; else root rm -f "$POLICY"; fi
}

# A run that was killed left the first policy under the other name: that is still the one to put back.
if root test -e "$POLICY" && ! root test -e "$KEPT" && ! root grep -qs "livepush's tests" "$POLICY"; then
    root cp -a "$POLICY" "$KEPT"
fi
trap restore EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
root rm -f "$POLICY"
printf '%s\n' '#!/bin/sh' "# Put here by livepush's tests while they install packages." 'exit 101' | root tee "$POLICY" >/dev/null
root chmod 755 "$POLICY"

# Debian's package would make a cluster of the system's.
case " ${packages[*]} " in *" postgresql "*)
    root mkdir -p "${NO_CLUSTER%/*}"
    echo 'create_main_cluster = false' | root tee "$NO_CLUSTER" >/dev/null
    ;;
esac

echo "Installing for the tests: ${packages[*]}"
install() { apt install --no-install-recommends "${packages[@]}"; }
if ! apt install --simulate --no-install-recommends "${packages[@]}" >/dev/null 2>&1 || ! install; then
    apt update || fail "apt-get update failed."
    install || fail "apt-get install failed."
fi
