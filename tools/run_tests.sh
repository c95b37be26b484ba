#!/usr/bin/env bash
# Installs what is missing, then lint, types, import directions and tests. Stops at what fails first.
#
#   tools/run_tests.sh [fast|all]      fast leaves out the tests marked slow; default: all
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
mode=${1:-all}
case $mode in
    fast) selection=(-m 'not slow') ;;
    all) selection=() ;;
    *)
        echo "run_tests.sh: there is no mode '$mode': choose from fast, all" >&2
        exit 2
        ;;
esac

stage() { # NAME COMMAND...
    local name=$1 began=$SECONDS
    shift
    printf '== %s\n' "$name"
    if ! "$@"; then
        printf '== FAILED: %s, after %d s\n' "$name" "$((SECONDS - began))" >&2
        exit 1
    fi
    printf '== %s: %d s\n' "$name" "$((SECONDS - began))"
}

# Two workers of one thread each: more threads than cores make torch slower, not faster.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

stage install tools/install.sh all
stage 'ruff check' .venv/bin/ruff check .
stage 'ruff format' .venv/bin/ruff format --check .
stage mypy .venv/bin/mypy
stage 'import directions' .venv/bin/lint-imports
stage "pytest ($mode)" .venv/bin/python -m pytest -n 2 "${selection[@]}"
