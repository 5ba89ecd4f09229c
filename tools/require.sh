#!/bin/sh
# Makes sure that a program is there: require.sh PROGRAM DEBIAN-PACKAGE
# Installs the package where that is possible, and else says what to install.
set -eu
PATH="$PATH:/usr/sbin"
command -v "$1" >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $2 …"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install --yes --no-install-recommends "$2" >/dev/null 2>&1 ||
        { apt-get update >/dev/null && apt-get install --yes --no-install-recommends "$2" >/dev/null; }
    command -v "$1" >/dev/null && exit 0
fi
echo "$1 is missing. Install it: sudo apt-get install $2" >&2
exit 1
