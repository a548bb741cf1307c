#!/usr/bin/env bash
# The first call of a numba function imports scipy.linalg, whatever the function does.
# Guess: numba is built on NumPy and llvmlite; a function without linear algebra loads nothing else.
# Versions: numba 0.68.1, scipy 1.17.1, numpy 2.4.6
# Seen: a function that doubles one number: scipy.linalg is loaded after its first call, where SciPy is installed, also
#   when what was compiled comes from the cache; importing numba and decorating do not load it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check numba==0.68.1 scipy==1.17.1 numpy==2.4.6
cat > loops.py <<'PY'
import sys

import numba


@numba.njit(cache=True)
def twice(number):
    return 2.0 * number


before = "scipy.linalg" in sys.modules
assert twice(1.5) == 3.0
print(before, "scipy.linalg" in sys.modules, sum(twice.stats.cache_hits.values()))
PY
first=$(env/bin/python loops.py)
again=$(env/bin/python loops.py)
printf 'scipy.linalg loaded before and after the call, functions from the cache: %s; %s\n' "$first" "$again"
test "$first" = "False True 0" && test "$again" = "False True 1"
