#!/bin/sh
# Make or update the environment of this checkout. The Makefile calls it; it needs nothing but Python.
#
#   PYTHON=python3.12 VENV=.venv sh scripts/setup_env.sh
#
# uv installs the packages: the one on PATH, else one that pip puts into the environment. `uv sync` is not used: its
# lock file would name the package registry of whoever ran it.
set -eu
cd "$(dirname "$0")/.."

VENV=${VENV:-.venv}

# The version of the environment that is there, if it is whole.
present=$("$VENV/bin/python" -c 'import pip, sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)
if [ -z "${PYTHON:-}" ]; then
    PYTHON=${present:+$VENV/bin/python}
    PYTHON=${PYTHON:-python3}
fi

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

command -v "$PYTHON" >/dev/null 2>&1 ||
    fail "$PYTHON is not on the PATH. Install Python 3.11 or later, or name it: make PYTHON=python3.12"

version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "bedrock-async needs Python 3.11 or later; $PYTHON is $version." \
        "Where a later one is installed, name it: make PYTHON=python3.12"

# The interpreter, the target and the origin of interpreters are this script's to choose.
unset UV_PYTHON UV_SYSTEM_PYTHON UV_PROJECT_ENVIRONMENT VIRTUAL_ENV PYTHONHOME
export UV_PYTHON_DOWNLOADS=never PIP_DISABLE_PIP_VERSION_CHECK=1

# An environment of another Python version, or one that is not whole, is made again.
if [ "$present" != "$version" ]; then
    rm -rf "$VENV"
    if command -v uv >/dev/null 2>&1; then
        # --seed: pip is there too, however the environment was made.
        uv venv --quiet --seed --python "$("$PYTHON" -c 'import sys; print(sys.executable)')" "$VENV"
    elif "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
        "$PYTHON" -m venv "$VENV"
    else
        fail "$PYTHON ($version) cannot make environments: its modules venv and ensurepip are not installed." \
            "  Debian, Ubuntu:  apt install python3-venv   (or python$version-venv)" \
            "Other systems ship them with Python itself. With uv on the PATH they are not needed."
    fi
fi

if command -v uv >/dev/null 2>&1; then
    uv=uv
else
    uv=$VENV/bin/uv
    if ! "$uv" --version >/dev/null 2>&1; then
        "$VENV/bin/python" -m pip install --quiet --constraint constraints.txt uv
    fi
    # Whoever has only pip has configured only pip: uv asks the same index.
    if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        index=$("$VENV/bin/python" -m pip config list 2>/dev/null | sed -n "s/^[^=]*\.index-url='\(.*\)'$/\1/p" | tail -n 1)
        if [ -n "$index" ]; then
            export UV_DEFAULT_INDEX="$index"
        fi
    fi
fi

plugins=$("$VENV/bin/python" scripts/plugin_projects.py)
set -f # the brackets of an extra are no pattern
# shellcheck disable=SC2086 # one word a line
set -- --editable '.[all]' $plugins
"$uv" pip install --python "$VENV/bin/python" --constraint constraints.txt --build-constraint constraints.txt \
    --group dev "$@"
