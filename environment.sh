#!/bin/sh
# Builds .venv from requirements.lock, with uv from the PATH or, failing that, one put into .uv.
# Called by make; safe to run again.
set -eu

suitable='import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info[:2] < (3, 14))'
python=
for candidate in python3.12 python3.13 python3 python; do
    if "$candidate" -c "$suitable" 2>/dev/null; then
        python=$("$candidate" -c 'import sys; print(sys.executable)')
        break
    fi
done
if [ -z "$python" ]; then
    echo "marketlake needs Python 3.12 or 3.13 with venv: install it (Debian, Ubuntu: apt install python3.12-venv) and run make again" >&2
    exit 1
fi

# uv does not read pip's configuration: hand it the index that pip was told to use.
index=${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null || true)}
if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
    UV_DEFAULT_INDEX=$index
    export UV_DEFAULT_INDEX
fi

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    uv=.uv/bin/uv
    if [ ! -x "$uv" ]; then
        "$python" -m venv .uv
        .uv/bin/python -m pip install --quiet --disable-pip-version-check uv
    fi
fi

"$uv" venv --quiet --allow-existing --python "$python" .venv
# Compiled here and once: where Python is told to write no bytecode, every start would compile for seconds.
"$uv" pip sync --quiet --python .venv --require-hashes --compile-bytecode requirements.lock
"$uv" pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
