"""What a number may be, said once."""

import math

import pytest

from piano.foundation.bounds import MINUTES, SAMPLE_RATE, SECONDS, Bound


def test_ends_belong_to_a_bound_and_what_is_no_number_does_not() -> None:
    assert all(value in SAMPLE_RATE for value in (1_000, 44_100, 384_000))
    assert all(value not in SAMPLE_RATE for value in (999, 384_001, 16_000.0, True, "16000", None, math.nan))
    assert all(value in SECONDS for value in (0, 0.5, 60))
    assert all(value not in SECONDS for value in (-1, math.inf, math.nan, 1e300))


def test_an_end_that_does_not_belong_is_refused_and_said() -> None:
    share = Bound(0.0, 1.0, is_whole=False, is_above=True, is_below=True)
    assert 0.5 in share and 1e-12 in share and 1 - 1e-12 in share
    assert 0.0 not in share and 1.0 not in share and 1 not in share
    assert str(share) == "a number above 0 and below 1"
    assert str(share._replace(is_above=False)) == "a number from 0 to below 1"
    assert share.limits == {"gt": 0.0, "lt": 1.0, "allow_inf_nan": False}


def test_a_refusal_says_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"steps must be a whole number from 1 to 1,000, got 0"):
        Bound(1, 1000).check(0, "steps")
    assert Bound(1, 1000).check(8, "steps") == 8
    with pytest.raises(ValueError) as refusal:
        Bound(1, 2).check("x" * 10_000, "rate")
    assert len(str(refusal.value)) <= 400


def test_the_ends_of_a_bound_are_written_out() -> None:
    assert str(MINUTES) == "a number above 0 to 5,270,400"
    assert str(Bound(0.0, 0.25, is_whole=False)) == "a number from 0 to 0.25"
