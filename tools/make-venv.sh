#!/bin/sh
# Makes a virtual environment: make-venv.sh PYTHON DIRECTORY
# On a fresh Debian the module that does it comes with a package of its own.
set -eu
"$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "gearmanny needs Python 3.11 or newer; $1 is $("$1" -V 2>&1)." >&2; exit 1; }
"$1" -c 'import ensurepip' 2>/dev/null || {
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if [ "$(id -u)" != 0 ]; then
        echo "venv is missing. Install it: sudo apt-get install python$version-venv" >&2
        exit 1
    fi
    apt-get update >/dev/null && apt-get install --yes "python$version-venv" >/dev/null
}
"$1" -m venv "$2"
"$2/bin/python" -m pip install --quiet --upgrade pip
