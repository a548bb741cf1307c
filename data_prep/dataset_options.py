"""How a data set is to be made: what the user may choose."""

from typing import NamedTuple


class DatasetOptions(NamedTuple):
    """How a data set is to be made."""

    segment_seconds: float = 10.0
    """Length of half a pair."""
    validation_fraction: float = 0.1
    """Part of the pairs kept from training, as near as whole recordings allow; both splits get at least one."""
    seed: int = 0
    """Chooses the split and the order."""
    split_inside: bool = False
    """Of one recording: its end is the validation music. Not asked for, it is done where there is only one."""
    join_short: bool = False
    """Files shorter than a pair are put one after the other, folder by folder. Not asked for, it is done where there is
    too little music without."""
    overwrite: bool = False
    """Replace a data set even if songs change sides or disappear."""
