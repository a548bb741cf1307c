"""The music a run learned from, as a part of the report: how much, how evenly, how loud, what was left out."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.foundation.dataset_format import (
    SPLITS,
    DatasetManifest,
    PreparedManifest,
    open_pairs,
    read_manifest,
    read_prepared_manifest,
)
from piano.foundation.errors import DatasetError
from piano.foundation.levels import SILENCE_DB, LevelMeter
from piano.foundation.music_amount import hours
from piano.foundation.screen_text import counted, printable
from piano.report.markup import Section, absent_section, render
from piano.report.sounds import recordings_of

LISTENED_PAIRS = 96
"""Segments whose level is measured; a few dozen, spread over all, tell as much as thousands."""
LARGE_SHARE = 0.25
QUIET_DB, SILENT_SHARE = -40.0, 0.5
BARS = 12
TITLE = "What it learned from"


class SegmentLevels(NamedTuple):
    """Levels of segments of the training music."""

    loudness_db: NDArray[np.float64]
    """Of each segment that is not silent [shape=(segments,)]"""
    silence_shares: NDArray[np.float64]
    """[shape=(segments,)]"""
    clipped: int
    """Segments with samples at full scale."""
    segments: int


class Histogram(NamedTuple):
    """How loud segments are, as it is drawn."""

    segments: int
    heights: list[float]
    """Of the bars, in % of the highest."""
    words: str
    """The picture in words."""
    low: str
    high: str
    """What stands below its ends."""


class Preparation(NamedTuple):
    """What preparation met."""

    facts: list[tuple[str, str]]
    met: list[tuple[str, int]]
    """Reasons and notes, and of how many files each."""


def music_section(dataset: Path | None, prepared: Sequence[Path]) -> Section:
    """The health of a data set, from its manifest, its sound, and what preparation left out.

    Parameters
    ----------
    dataset : Path, optional
    prepared : sequence of Path
        Where the prepared songs may lie; the first folder that made this data set counts.
    """
    if dataset is None:
        sentence = "The data set that this run learned from is not there: give it with --dataset."
        return absent_section("music", TITLE, sentence)
    try:
        manifest = read_manifest(dataset)
        heard = listen_to(dataset, manifest)
    except DatasetError as error:
        return absent_section("music", TITLE, f"The data set cannot be looked at: {error}")
    content = render(
        "music.html",
        trouble=find_trouble(manifest, heard),
        facts=music_facts(manifest, heard),
        loudness=loudness_of(heard),
        preparation=preparation_of(prepared, manifest),
    )
    return Section(
        "music",
        TITLE,
        "A model can be no better than its music. These are the numbers that most often explain a bad run.",
        content,
        note=f"{counted(len(manifest.songs['training']), 'song')}, {hours(manifest, 'training'):.2f} hours",
    )


def listen_to(dataset: Path, manifest: DatasetManifest) -> SegmentLevels:
    """Levels of up to 96 segments spread over the training pairs; raises DatasetError."""
    pairs = open_pairs(dataset, "training")
    chosen = (
        np.unique(np.linspace(0, len(pairs) - 1, min(LISTENED_PAIRS, len(pairs))).round().astype(int))
        if len(pairs)
        else []
    )
    loudness, silence, clipped = [], [], 0
    for index in chosen:
        segment = np.array(pairs[index, 0])
        meter = LevelMeter(manifest.sample_rate)
        meter.add(segment)
        levels = meter.levels()
        silence.append(levels.silence_share)
        clipped += int((np.abs(segment) >= 0.999).mean() > 1e-4)
        if not levels.is_silent:
            loudness.append(levels.loudness_db)
    return SegmentLevels(np.array(loudness), np.array(silence), clipped, len(chosen))


def music_facts(manifest: DatasetManifest, heard: SegmentLevels) -> list[tuple[str, str]]:
    """The data set in short."""
    layout = "mono" if manifest.channels == 1 else "stereo"
    facts = [
        (
            name.capitalize(),
            f"{counted(len(manifest.songs[name]), 'song')}, {counted(manifest.pairs[name], 'pair')}, "
            f"about {hours(manifest, name):.2f} hours",
        )
        for name in SPLITS
    ]
    facts.append(("Sound", f"{manifest.sample_rate / 1000:g} kHz {layout}, segments of {manifest.segment_seconds:g} s"))
    if len(heard.loudness_db):
        low, middle, high = np.percentile(heard.loudness_db, (5, 50, 95))
        facts.append(
            (
                "Loudness",
                f"{middle:.1f} dBFS in the middle, 90 % between {low:.1f} and {high:.1f}".replace("-", "\u2212"),
            )
        )
    if heard.segments:
        facts.append(("Silence", f"{heard.silence_shares.mean():.1%} of {heard.segments} segments listened to"))
        facts.append(("Clipping", f"{heard.clipped} of {heard.segments} segments touch full scale"))
    if share := largest_share(manifest):
        facts.append(("Largest song", f"{share[1]:.0%} of the training pairs: {share[0]}"))
    if manifest.too_short:
        facts.append(("Too short", f"{counted(len(manifest.too_short), 'song')} gave no pair"))
    return facts


def largest_share(manifest: DatasetManifest) -> tuple[str, float] | None:
    """The recording with the most training pairs, and its share of them."""
    recordings = recordings_of(manifest, "training")
    if not recordings:
        return None
    name, count = Counter(recordings).most_common(1)[0]
    return name, count / len(recordings)


def find_trouble(manifest: DatasetManifest, heard: SegmentLevels) -> list[str]:
    """What would explain a bad run."""
    found = []
    if shared := set(manifest.groups["training"]) & set(manifest.groups["validation"]):
        found.append(f"{counted(len(shared), 'recording')} in both splits: validation knows what was learned.")
    if not manifest.pairs["validation"]:
        found.append("There are no validation pairs: nothing can be measured on unseen music.")
    elif len(manifest.groups["validation"] or manifest.songs["validation"]) == 1:
        found.append(
            "The validation set is one song: what is measured on it says little of other music. Ten songs or more do."
        )
    if len(manifest.songs["training"]) == 1:
        found.append("There is one training song: a model can only learn it by heart.")
    elif (share := largest_share(manifest)) and share[1] > LARGE_SHARE:
        found.append(f"{share[1]:.0%} of the music is one recording ({share[0]}): expect to hear it.")
    if heard.segments and heard.silence_shares.mean() > SILENT_SHARE:
        found.append("More than half of the music is silence.")
    quiet = int((heard.loudness_db < QUIET_DB).sum()) + heard.segments - len(heard.loudness_db)
    if quiet > heard.segments / 10:
        found.append(f"{quiet} of {heard.segments} segments are nearly silent (below {QUIET_DB:g} dB).")
    if heard.clipped > heard.segments / 4:
        found.append(f"{heard.clipped} of {heard.segments} segments are clipped.")
    return found


def loudness_of(heard: SegmentLevels) -> Histogram | None:
    """How loud the segments are; None for one loudness only."""
    if len(heard.loudness_db) < 3:
        return None
    low = max(float(np.floor(heard.loudness_db.min())), SILENCE_DB)
    counts, edges = np.histogram(
        heard.loudness_db, bins=BARS, range=(low, max(float(np.ceil(heard.loudness_db.max())), low + 1))
    )
    words = (
        f"Histogram of loudness: {len(heard.loudness_db)} segments between {edges[0]:.0f} and {edges[-1]:.0f} dB, "
        f"most at {(edges[counts.argmax()] + edges[counts.argmax() + 1]) / 2:.0f} dB"
    )
    ends = [f"{edge:.0f} dB".replace("-", "\u2212") for edge in (edges[0], edges[-1])]
    return Histogram(len(heard.loudness_db), [100 * count / counts.max() for count in counts], words, *ends)


def preparation_of(prepared: Sequence[Path], manifest: DatasetManifest) -> Preparation | None:
    """What preparation met, where its folder is still there and made this data set's songs; else None."""
    own = {song for songs in manifest.songs.values() for song in songs}
    readable = (read_prepared(folder) for folder in prepared)
    found = next((each for each in readable if each and own & {song.source for song in each.songs}), None)
    if found is None:
        return None
    reasons = Counter(entry.reason for entry in found.left_out)
    notes = Counter(note for song in found.songs for note in song.notes)
    met = [("left out: " + reason.replace("_", " "), count) for reason, count in reasons.most_common()]
    met += [(printable(note), count) for note, count in notes.most_common()]
    loudness, total = ([song.loudness_db for song in found.songs], sum(song.seconds for song in found.songs) / 3600)
    facts = [
        ("Prepared", f"{counted(len(found.songs), 'song')}, {total:.2f} hours"),
        ("Before levelling", f"{min(loudness):.1f} to {max(loudness):.1f} dB".replace("-", "\u2212")),
        ("Left out", counted(len(found.left_out), "file")),
    ]
    return Preparation(facts, met)


def read_prepared(folder: Path) -> PreparedManifest | None:
    """The manifest of a prepared folder with songs in it, if there is one."""
    try:
        found: PreparedManifest | None = read_prepared_manifest(folder)
    except DatasetError:
        return None
    return found if found and found.songs else None
