"""Every measure of the ruler in one table: what it is called, its unit, which way is better, how it is computed."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

from numpy.typing import NDArray

from piano.evaluation import descriptors, reconstruction
from piano.evaluation.descriptors import Clip

Better = Literal["lower", "higher", "near 1", "in the real band"]


class SetMeasure(NamedTuple):
    """A figure of a whole set of clips; a field of the same name in `set_scores.SetScores`."""

    name: str
    unit: str
    better: Better
    meaning: str


class Descriptor(NamedTuple):
    """A single number of one clip, read against the band that real clips lie in."""

    name: str
    unit: str
    measure: Callable[[Clip], float]


class PairMeasure(NamedTuple):
    """A distance of one reconstruction to its original."""

    name: str
    unit: str
    better: Better
    measure: Callable[..., float]


SET_MEASURES = (
    SetMeasure("kernel_score", "", "lower", "0: other real music, 1: noise with its spectrum"),
    SetMeasure("coverage", "share", "higher", "real clips that have a made one near to them"),
    SetMeasure("recall", "share", "higher", "real clips within the spread of the made ones"),
    SetMeasure("diversity", "x real", "near 1", "distance between made clips over that of real ones"),
    SetMeasure("told_apart", "share", "lower", "clips that a judge of other songs tells right; 0.5 is chance"),
    SetMeasure("strays", "share", "lower", "clips that are like no real one"),
)

DESCRIPTORS = (
    Descriptor("tonal_share", "share", descriptors.tonal_share),
    Descriptor("stable_note_share", "share", descriptors.stable_note_share),
    Descriptor("key_clarity", "", descriptors.key_clarity),
    Descriptor("onset_rate", "per s", descriptors.onset_rate),
    Descriptor("beat_strength", "", descriptors.beat_strength),
    Descriptor("polyphony", "notes", descriptors.polyphony),
    *(
        Descriptor(f"self_similarity_{seconds:g}s", "cosine", partial(descriptors.self_similarity, seconds=seconds))
        for seconds in (0.5, 1.0, 2.0, 4.0, 8.0)
    ),
    Descriptor("repetition_0.5s", "cosine", partial(descriptors.repetition, seconds=0.5)),
    Descriptor("repetition_1s", "cosine", partial(descriptors.repetition, seconds=1.0)),
    Descriptor("repetition_2s", "cosine", partial(descriptors.repetition, seconds=2.0)),
    Descriptor("loudness", "dBFS", descriptors.loudness),
    Descriptor("integrated_loudness", "LUFS", descriptors.integrated_loudness),
    Descriptor("crest", "dB", descriptors.crest),
    Descriptor("silence_share", "share", descriptors.silence_share),
    Descriptor("offset", "x RMS", descriptors.offset),
    Descriptor("stereo_correlation", "", descriptors.stereo_correlation),
    Descriptor("side_to_mid", "dB", descriptors.side_to_mid),
    Descriptor("stereo_coherence", "", descriptors.stereo_coherence),
    Descriptor("level_difference_spread", "dB", descriptors.level_difference_spread),
    Descriptor("rolloff", "Hz", descriptors.rolloff),
    Descriptor("bandwidth", "Hz", descriptors.bandwidth),
    Descriptor("whistle", "share", descriptors.whistle),
)

PAIR_MEASURES = (
    PairMeasure("mel_distance", "", "lower", reconstruction.mel_distance),
    PairMeasure("stft_distance", "", "lower", reconstruction.stft_distance),
    PairMeasure("si_sdr", "dB", "higher", reconstruction.si_sdr),
)


def describe(waveform: NDArray, sample_rate: int) -> dict[str, float]:
    """All descriptors of one clip, by name.

    Parameters
    ----------
    waveform : array [shape=(channels, samples)]
    """
    clip = Clip(waveform, sample_rate)
    return {row.name: row.measure(clip) for row in DESCRIPTORS}


MEASURE_TITLES = {
    "kernel_score": "Distance from real music",
    "coverage": "Coverage",
    "recall": "Recall",
    "diversity": "Diversity",
    "told_apart": "Told from real music",
    "strays": "Like no real clip",
    "inside": "In the range of real music",
}
"""What the measures of a set are called in pictures and on pages."""


def measure_title(name: str) -> str:
    """A measure's or a single number's name in words, such as `Distance from real music` or `Onset rate`."""
    words = name.replace("_", " ")
    return MEASURE_TITLES.get(name, words[:1].upper() + words[1:])
