"""What a kernel score says, in words: one rule for the screen, the page, the doctor and the last line of a training.

The scale: 0 is other real music, 1 is noise with the music's spectrum. A score is only as sure as the music it was
measured on, so that its clips and songs are said with it.
"""

import math
from typing import Any

from piano.foundation.screen_text import counted

JUDGED_AGAIN = "judged again"
"""The event of a log: its best epoch so far has another score now, by far more clips."""
RULER_VERSION = 2
"""Counts up when the features or the definition of a figure change: figures of two versions are not comparable.
1: 309 features of the mono mix. 2: level, pulse, repetition and the stereo image have their own aspects."""
FIRST_RULER = 1
"""The ruler of figures that do not name one."""
FEWEST_CLIPS = 4
"""With fewer real clips there are no halves to hold against each other: the scale has no 0."""
FEW_SONGS = 4
"""With fewer songs their passages stand in for songs, and every interval is too narrow."""
NOISE_FROM, HARDLY_FROM, FAR_FROM, SOME_WAY_FROM = 1.0, 0.85, 0.5, 0.2
DRONE = 0.9
"""Self-similarity one second apart from which, above that of real music, a sound does not change any more."""
UNTOLD = "not told apart"
UNKNOWN = "cannot tell"

Interval = tuple[float, float] | None


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; True and False are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < math.inf if isinstance(value, int) else math.isfinite(value)


def score_words(score: float | None, interval: Interval = None, clips: int | None = None) -> str:
    """A kernel score as it stands in a table: `0.40`, `0 (not told apart)`, `cannot tell`.

    Parameters
    ----------
    score : float, optional
        None, or not finite, where there is no scale.
    interval : tuple of float, optional
        Low and high end, 95 %.
    clips : int, optional
        Real clips it was measured on; None where that is not known.
    """
    if score is None or not is_number(score) or (clips is not None and clips < FEWEST_CLIPS):
        return UNKNOWN
    ends = f" [{interval[0]:.2f}, {interval[1]:.2f}]" if _has_ends(interval) and interval else ""
    if round(score, 2) <= 0.0:
        return f"0 ({UNTOLD})"
    return f"{score:.2f}{ends}"


def score_meaning(score: float | None, clips: int | None = None, songs: int | None = None) -> str:
    """What music with such a score is like: `worse than noise`, `near real music`."""
    if score_words(score, None, clips) == UNKNOWN or score is None:
        return UNKNOWN
    if round(score, 2) <= 0.0:
        few = "this few songs" if songs is None or songs < 20 else "these songs"
        return f"not told apart from real music with {few}"
    if score >= NOISE_FROM:
        return "worse than noise"
    if score >= HARDLY_FROM:
        return "hardly better than noise"
    if score >= FAR_FROM:
        return "far from real music"
    return "some way from real music" if score >= SOME_WAY_FROM else "near real music"


def score_sentence(
    score: float | None, interval: Interval = None, clips: int | None = None, songs: int | None = None
) -> str:
    """`some way from real music (0.40, where 0 is other real music and 1 is noise; 8 clips of 1 song: a hint)`."""
    figure, meaning = score_words(score, interval, clips), score_meaning(score, clips, songs)
    measured = measured_on(clips, songs)
    if figure == UNKNOWN:
        return f"{UNKNOWN}{f' ({measured})' if measured else ''}"
    scale = "" if UNTOLD in figure else f"{figure}, where 0 is other real music and 1 is noise"
    inside = "; ".join(part for part in (scale, measured) if part)
    return f"{meaning}{f' ({inside})' if inside else ''}"


def measured_on(clips: int | None, songs: int | None) -> str:
    """`24 clips of 12 songs`, `8 clips of 1 song: a hint`, `only 2 clips`; empty where nothing is known."""
    if clips is None:
        return ""
    if clips < FEWEST_CLIPS:
        return f"only {counted(clips, 'clip')} of real music, {FEWEST_CLIPS} are needed"
    of_songs = f" of {counted(songs, 'song')}" if songs is not None else ""
    return f"{counted(clips, 'clip')}{of_songs}{': a hint' if songs is not None and songs < FEW_SONGS else ''}"


def is_drone(similarity: Any, real: Any) -> bool:
    """Whether made music stays as it is: its harmonies one second apart are more alike than real music's ever are."""
    return is_number(similarity) and similarity > DRONE and (not is_number(real) or similarity > real)


def drone_words(similarity: Any, real: Any) -> str:
    """`0.96 alike from one second to the next, real music up to 0.80`; empty for music that is no drone."""
    if not is_drone(similarity, real):
        return ""
    beside = f", real music up to {real:.2f}" if is_number(real) else ""
    return f"{similarity:.2f} alike from one second to the next{beside}"


def _has_ends(interval: Interval) -> bool:
    return interval is not None and all(is_number(end) for end in interval) and interval[0] < interval[1]
