"""How much music there is, and how much is enough to learn from, in words."""

from piano.foundation.dataset_format import DatasetManifest
from piano.foundation.doors import command
from piano.foundation.screen_text import counted

LEAST_SECONDS = 180.0
"""Training music below this is too little to learn from."""
VARIED_SECONDS = 900.0
"""A model of less will mostly repeat what it heard."""


def hours(manifest: DatasetManifest, split: str) -> float:
    """Hours of music of a split: neighbouring pairs share a segment, so each pair adds one."""
    return manifest.pairs[split] * manifest.segment_seconds / 3600


def amount_words(seconds: float) -> str:
    """What so much training music allows, in a sentence; empty where there is enough.

    Parameters
    ----------
    seconds : float
        Of different music.
    """
    length = counted(round(seconds), "second") if seconds < 120.0 else f"{seconds / 60.0:.1f} minutes"
    if seconds < LEAST_SECONDS:
        return (
            f"There are {length} of music to learn from, which is too little to become a model of its own "
            f"(at least {LEAST_SECONDS / 60.0:.0f} minutes; better {VARIED_SECONDS / 60.0:.0f} and more). Add music, "
            f"or begin with a trained model: `{command('train', '--from', 'shipped')}`."
        )
    if seconds < VARIED_SECONDS:
        return (
            f"There are {length} of music to learn from: what is made will mostly repeat what was heard. "
            f"From {VARIED_SECONDS / 60.0:.0f} minutes on there is more to vary."
        )
    return ""
