"""Logarithm, exponential, sine and cosine on float32 that a compiler can turn into vector instructions.

Without Intel's vector library numba calls the C library once per number. These are polynomials without branches
(Cephes; Moshier 1989), so that LLVM computes 8 or 16 at once. Phases are in turns: range reduction is one rounding.
Each says its largest error, which tests/test_kernels.py measures. This module needs numba: see `foundation.compiled`.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

_f = np.float32
_ROUNDER = _f(12582912.0)  # 1.5 * 2**23: adding and subtracting it rounds to the nearest whole number
_LN2_HIGH, _LN2_LOW, _PER_LN2 = _f(0.693359375), _f(-2.12194440e-4), _f(1.44269504088896341)
_ROOT_HALF_BITS = np.int32(0x3F3504F3)
_ONE_BITS = np.int32(127 << 23)
_LARGEST, _SMALLEST = _f(88.0), _f(-87.0)
_TAU = _f(2.0 * np.pi)

_FAST = frozenset({"contract"})
"""A product and a sum may be rounded once; nothing is reordered, so that results do not depend on a loop's form."""

inlined: Callable[[Callable[..., Any]], Callable[..., Any]] = njit(inline="always", fastmath=set(_FAST))


def compiled(signature: str, *, reorders_sums: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A kernel of fixed types: compiled, or read from the cache, when its module is loaded.

    Parameters
    ----------
    reorders_sums : bool
        Whether long sums may be computed in parts, so that they become vectors; in every call in the same parts.
    """
    fast = {*_FAST, "reassoc"} if reorders_sums else set(_FAST)
    return njit(signature, cache=True, nogil=True, fastmath=fast, error_model="numpy")


_from_llvm = cast(Callable[[Callable[..., Any]], Callable[..., Any]], intrinsic)


@_from_llvm
def _bits(typing_context, value):
    """The bits of a float32 as an int32."""

    def code(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return types.int32(types.float32), code


@_from_llvm
def _from_bits(typing_context, value):
    """The float32 that an int32 holds the bits of."""

    def code(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return types.float32(types.int32), code


@inlined
def round_to_whole(value):
    """Nearest whole number of |value| < 2**22, halves to even."""
    return (value + _ROUNDER) - _ROUNDER


@inlined
def log32(value):
    """Natural logarithm of a normal positive float32; off by 2e-7 of it or 1e-7, whichever is more."""
    bits = _bits(value)
    exponent = (bits - _ROOT_HALF_BITS) >> np.int32(23)
    x = _from_bits(bits - (exponent << np.int32(23))) - _f(1.0)
    e = _f(exponent)
    y = _f(7.0376836292e-2)
    y = y * x - _f(1.1514610310e-1)
    y = y * x + _f(1.1676998740e-1)
    y = y * x - _f(1.2420140846e-1)
    y = y * x + _f(1.4249322787e-1)
    y = y * x - _f(1.6668057665e-1)
    y = y * x + _f(2.0000714765e-1)
    y = y * x - _f(2.4999993993e-1)
    y = y * x + _f(3.3333331174e-1)
    square = x * x
    y = y * x * square + e * _LN2_LOW - _f(0.5) * square
    return (x + y) + e * _LN2_HIGH


@inlined
def exp32(value):
    """Exponential of a float32 between -87 and 88, to which it is limited; off by 2e-7 of it."""
    value = min(max(value, _SMALLEST), _LARGEST)
    whole = round_to_whole(value * _PER_LN2)
    x = value - whole * _LN2_HIGH - whole * _LN2_LOW
    y = _f(1.9875691500e-4)
    y = y * x + _f(1.3981999507e-3)
    y = y * x + _f(8.3334519073e-3)
    y = y * x + _f(4.1665795894e-2)
    y = y * x + _f(1.6666665459e-1)
    y = y * x + _f(5.0000001201e-1)
    y = y * (x * x) + x + _f(1.0)
    return y * _from_bits((np.int32(whole) << np.int32(23)) + _ONE_BITS)


@inlined
def cosine_and_sine(turns):
    """Cosine and sine of a phase in turns, |turns| < 2**20; off by 2e-7 where the phase itself is exact."""
    rest = turns - round_to_whole(turns)
    quarter = round_to_whole(_f(4.0) * rest)
    x = _TAU * (rest - _f(0.25) * quarter)
    z = x * x
    sine = _f(-1.9515295891e-4) * z + _f(8.3321608736e-3)
    sine = (sine * z - _f(1.6666654611e-1)) * z * x + x
    cosine = _f(2.443315711809948e-5) * z - _f(1.388731625493765e-3)
    cosine = (cosine * z + _f(4.166664568298827e-2)) * z * z - _f(0.5) * z + _f(1.0)
    number = np.int32(quarter)
    is_odd = (number & np.int32(1)) != np.int32(0)
    first, second = (sine, cosine) if is_odd else (cosine, sine)
    first = -first if ((number + np.int32(1)) & np.int32(2)) != np.int32(0) else first
    second = -second if (number & np.int32(2)) != np.int32(0) else second
    return first, second
