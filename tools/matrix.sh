#!/bin/sh
# Runs the tests on every supported pair of Python and Django whose Python is installed.
set -eu
for pair in 3.11:5.2 3.12:6.0 3.13:6.1; do
    python="python${pair%:*}" django="${pair#*:}"
    if ! "$python" -c '' 2>/dev/null; then
        echo "== $python is not installed: passed over"
        continue
    fi
    environment=".matrix/$python-django$django"
    echo "== $python with Django $django"
    [ -x "$environment/bin/python" ] || tools/make-venv.sh "$python" "$environment"
    "$environment/bin/python" -m pip install --quiet --editable '.[test]' "Django==$django.*"
    "$environment/bin/python" -m pytest --gearmand
done
