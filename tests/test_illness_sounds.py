"""The sounds of docs/illnesses.md are what they are said to be, by the measures of the ruler."""

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from illness_sounds import SOUNDS, TAKES

from piano.evaluation import descriptors
from piano.evaluation.descriptors import Clip
from piano.foundation.audio_io import read_audio

DOCS = Path(__file__).resolve().parent.parent / "docs"
RATE = 44_100


@cache
def heard(name: str) -> Clip:
    return Clip(read_audio(DOCS / "sounds" / f"{name}.mp3", sample_rate=RATE, channels=1), RATE)


def likeness(first: Clip, second: Clip) -> float:
    """Cosine of two clips' pitches, frame by frame, over what both have."""
    frames = min(len(first.pitch), len(second.pitch))
    one, two = first.pitch[:frames].ravel(), second.pitch[:frames].ravel()
    return float(one @ two / np.sqrt((one @ one) * (two @ two)))


def takes(name: str) -> list[Clip]:
    """The three pieces of a file."""
    waveform = heard(name).waveform
    length = waveform.shape[1] // TAKES
    return [Clip(waveform[:, take * length : (take + 1) * length], RATE) for take in range(TAKES)]


def seams(clip: Clip) -> float:
    """The steepest bend of the wave over the usual one."""
    bends = np.abs(np.diff(clip.mono, 2))
    return float(bends.max() / np.sqrt(np.square(bends).mean()))


def test_every_sound_is_short_small_and_in_the_document() -> None:
    files = sorted((DOCS / "sounds").glob("*.mp3"))
    assert [path.stem for path in files] == sorted(name.replace("_", "-") for name in SOUNDS)
    assert sum(path.stat().st_size for path in files) < 1_500_000
    assert all(3.5 < heard(path.stem).seconds < 5.0 for path in files)
    text = (DOCS / "illnesses.md").read_text(encoding="utf-8")
    assert {path.stem for path in files} == set(re.findall(r"\(sounds/([\w-]+)\.mp3\)", text))


def test_a_drone_stands_still_and_noise_has_no_notes() -> None:
    assert (
        descriptors.self_similarity(heard("drone"), 1.0)
        > 0.95
        > 0.9
        > descriptors.self_similarity(heard("healthy"), 1.0)
    )
    assert descriptors.tonal_share(heard("noise")) < 0.3 < 0.8 < descriptors.tonal_share(heard("healthy"))


def test_silence_is_silent_and_clipping_is_clipped() -> None:
    assert descriptors.silence_share(heard("silence")) > 0.5 > 0.01 > descriptors.silence_share(heard("healthy"))
    assert descriptors.crest(heard("clipping")) < 8.0 < 12.0 < descriptors.crest(heard("healthy"))


def test_notes_begin_and_stay_in_the_healthy_sound_only() -> None:
    for name in ("divergence", "too-smooth", "drone", "noise"):
        assert descriptors.onset_rate(heard(name)) < 1.0 < 3.0 < descriptors.onset_rate(heard("healthy"))
    assert (
        descriptors.stable_note_share(heard("prior-hole"))
        < 0.1
        < 0.25
        < descriptors.stable_note_share(heard("healthy"))
    )


def test_after_a_mode_collapse_every_seed_is_the_same() -> None:
    first, second, third = takes("mode-collapse")
    assert min(likeness(first, second), likeness(first, third)) > 0.9
    first, second, third = takes("three-seeds")
    assert max(likeness(first, second), likeness(first, third), likeness(second, third)) < 0.8


def test_a_copy_is_the_passage_and_a_collapsed_posterior_is_not() -> None:
    passage = heard("passage")
    assert likeness(passage, heard("copy")) > 0.95
    assert likeness(passage, heard("posterior-collapse")) < 0.85
    assert likeness(passage, heard("healthy")) < 0.6


def test_clicks_bend_the_wave() -> None:
    assert seams(heard("clicks")) > 2.0 * seams(heard("copy"))


@pytest.mark.parametrize(
    ("name", "measure", "said"),
    [
        ("healthy", lambda clip: descriptors.self_similarity(clip, 1.0), "0.84 alike"),
        ("drone", lambda clip: descriptors.self_similarity(clip, 1.0), "1.00 alike"),
    ],
)
def test_the_document_says_what_is_measured(name: str, measure, said: str) -> None:
    assert said in (DOCS / "illnesses.md").read_text(encoding="utf-8")
    assert measure(heard(name)) == pytest.approx(float(said.split()[0]), abs=0.02)
