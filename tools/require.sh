#!/bin/sh
# Makes sure that a program is there: require.sh PROGRAM DEBIAN-PACKAGE
# Installs the package where that is possible, and else says what to install.
set -eu

has() {
    command -v "$1" >/dev/null && return
    # Debian has each version of PostgreSQL in a folder of its own, which is not on the PATH.
    ls "/usr/sbin/$1" /usr/lib/postgresql/*/bin/"$1" 2>/dev/null | grep -q .
}

# Tests start servers of their own. A service would only take a port and memory of this machine, so
# none is started, and PostgreSQL makes no cluster. Where that is configured already, it stays so.
start_no_services() {
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    cluster=/etc/postgresql-common/createcluster.conf
    if [ "$1" = postgresql ] && [ ! -e "$cluster" ]; then
        mkdir -p "${cluster%/*}"
        echo 'create_main_cluster = false' >"$cluster"
        export UCF_FORCE_CONFFOLD=1 # the package would ask whether to keep this file
    fi
}

has "$1" && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $2 …"
    export DEBIAN_FRONTEND=noninteractive
    start_no_services "$2"
    apt-get install --yes --no-install-recommends "$2" >/dev/null 2>&1 ||
        { apt-get update >/dev/null && apt-get install --yes --no-install-recommends "$2" >/dev/null; }
    has "$1" && exit 0
fi
echo "$1 is missing. Install it: sudo apt-get install $2" >&2
exit 1
