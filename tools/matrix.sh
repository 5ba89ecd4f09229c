#!/bin/sh
# Runs the tests on every supported pair of Python and Django whose Python is installed: all of them,
# or those that the arguments name, which are given to pytest.
set -eu

# The interpreter may be on the PATH, or one of pyenv that is not switched on.
find_python() {
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        "$candidate" -c '' 2>/dev/null && echo "$candidate" && return
    done
    return 1
}

missing=
for pair in 3.11:5.2 3.12:6.0 3.13:6.1; do
    version="${pair%:*}" django="${pair#*:}"
    if ! python=$(find_python "$version"); then
        missing="$missing $version"
        continue
    fi
    environment=".matrix/python$version-django$django"
    echo "== Python $version with Django $django"
    [ -x "$environment/bin/python" ] || tools/make-venv.sh "$python" "$environment"
    "$environment/bin/python" -m pip install --quiet --editable '.[test]' "Django==$django.*"
    "$environment/bin/python" -m pytest --gearmand -n "${TEST_PROCESSES:-3}" "$@"
done
[ -z "$missing" ] || echo "== not installed, so their tests were not run: Python$missing"
