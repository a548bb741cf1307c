"""Did it copy, as a part of the report: every piece beside the training passage most like it, both to hear."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from piano.evaluation.memorisation import (
    PASSAGE_SECONDS,
    Memorisation,
    Nearest,
    build_library,
    find_copies,
    why_not_searched,
)
from piano.evaluation.music_folder import Song, read_songs
from piano.foundation.dataset_format import DatasetManifest, read_manifest
from piano.foundation.errors import DatasetError
from piano.foundation.screen_text import counted
from piano.report.markup import Section, absent_section, render, short
from piano.report.sound_cards import SoundPlayer, sound_address
from piano.report.sounds import ShownSound, dataset_music, recordings_of
from piano.report.titles import song_title

TITLE = "Did it copy?"
AUTOMATIC_HOURS = 6.0
"""Larger data sets are searched only when asked to: it takes about half a minute an hour of music."""
HELD_OUT = 24
MOST_SECONDS = 10.0
SongWatch = Callable[[Iterable[Song]], Iterable[Song]]


class Found(NamedTuple):
    """Which training passage is most like a piece."""

    piece: ShownSound
    similarity: float
    is_copy: bool
    made: ShownSound
    """The passage of the piece."""
    learned: ShownSound
    """The passage of the training music."""


def copies_section(
    made: Sequence[ShownSound], dataset: Path | None, *, search: str, watch: SongWatch = lambda songs: songs
) -> Section:
    """Search the training music for the pieces of this page.

    Parameters
    ----------
    made : sequence of Sound
        From noise, all at one rate; the ones that are too short are left out.
    dataset : Path, optional
        What was learned from.
    search : str
        `yes`, `no`, or `auto`: unless it would take long.
    watch : callable, optional
        Shows progress over the training songs.
    """
    try:
        reason = refusal(made, dataset, search)
        if reason or dataset is None:
            return absent_section("copies", TITLE, reason)
        found, result = search_copies(made, dataset, watch)
    except (DatasetError, ValueError) as error:
        return absent_section("copies", TITLE, f"The training music cannot be searched: {error}")
    copied = round(result.copied_share * len(result.nearest))
    note = f"{copied} of {counted(len(result.nearest), 'piece')}"
    rows = [
        (
            *(SoundPlayer(sound, sound_address(sound)) for sound in (row.made, row.learned)),
            row.similarity,
            row.is_copy,
        )
        for row in found
    ]
    return Section("copies", TITLE, explain(result), render("copies.html", rows=rows), note)


def refusal(made: Sequence[ShownSound], dataset: Path | None, search: str) -> str:
    """Why the music cannot be or is not searched, in a sentence; empty if nothing is in the way."""
    if search == "no":
        return "The training music was not searched (--copies no)."
    if dataset is None:
        return "The training music cannot be reached: give the data set with --dataset."
    manifest = read_manifest(dataset)
    length = manifest.pairs["training"] * manifest.segment_seconds / 3600
    if search == "auto" and length > AUTOMATIC_HOURS:
        return f"The training music is {length:.0f} hours long and was not searched: --copies yes does it."
    if not usable(made, manifest):
        return f"There is no piece of {PASSAGE_SECONDS:g} s or more from noise to look for."
    return why_not_searched(len(set(recordings_of(manifest, "validation") or range(manifest.pairs["validation"]))))


def usable(made: Sequence[ShownSound], manifest: DatasetManifest) -> list[ShownSound]:
    """Pieces that are long enough, and sound as the data set does."""
    return [
        sound
        for sound in made
        if sound.seconds >= PASSAGE_SECONDS + 0.2
        and (sound.sample_rate, len(sound.waveform)) == (manifest.sample_rate, manifest.channels)
    ]


def search_copies(made: Sequence[ShownSound], dataset: Path, watch: SongWatch) -> tuple[list[Found], Memorisation]:
    """The nearest training passage of every piece; all clips are cut to one length.

    Raises
    ------
    DatasetError, ValueError
        The data set is damaged, or too small.
    """
    manifest = read_manifest(dataset)
    pieces = usable(made, manifest)
    rate, channels = manifest.sample_rate, manifest.channels
    seconds = min(MOST_SECONDS, 2 * manifest.segment_seconds, *(sound.seconds for sound in pieces))
    held_out = [sound.waveform for sound in dataset_music(dataset, count=HELD_OUT, seconds=seconds)]
    if reason := why_not_searched(len(held_out)):
        raise ValueError(reason)
    samples = round(seconds * rate)
    clips = [sound.waveform[:, :samples] for sound in pieces]
    songs = read_songs(dataset, sample_rate=rate, channels=channels, split="training")
    result = find_copies(build_library(watch(songs), rate), clips, held_out, rate)
    names = {nearest.song for nearest in result.nearest}
    sources = {
        song.name: song.waveform
        for song in read_songs(dataset, sample_rate=rate, channels=channels, split="training", only=names)
    }
    found = [
        describe(piece, nearest, sources[nearest.song], manifest, is_copy=result.is_copy(nearest))
        for piece, nearest in zip(pieces, result.nearest, strict=True)
    ]
    return sorted(found, key=lambda row: (not row.is_copy, -row.similarity)), result


def describe(
    piece: ShownSound, nearest: Nearest, source: NDArray[np.float32], manifest: DatasetManifest, *, is_copy: bool
) -> Found:
    """Both passages, with names that say where they are from."""
    rate = manifest.sample_rate
    made, learned = (
        waveform[:, round(start * rate) : round((start + nearest.length) * rate)]
        for waveform, start in ((piece.waveform, nearest.clip_seconds), (source, nearest.seconds))
    )
    name = recording_title(nearest.song, manifest)
    return Found(
        piece,
        nearest.similarity,
        is_copy,
        ShownSound("noise", f"{piece.title} from {nearest.clip_seconds:.1f} s", "", made, rate),
        ShownSound("real", f"{name} from {nearest.seconds:.1f} s", "", learned, rate),
    )


def recording_title(name: str, manifest: DatasetManifest) -> str:
    """`training pair 17` as the file it was cut from, where the data set knows."""
    recordings = recordings_of(manifest, "training")
    place = name.rpartition(" ")[2]
    found = recordings[int(place)] if recordings and place.isdigit() and int(place) < len(recordings) else name
    return song_title(found)


def explain(result: Memorisation) -> str:
    """What the figures mean, and what was found."""
    copied = round(result.copied_share * len(result.nearest))
    verdict = (
        "No piece is nearer to the training music than music that was never learned can be."
        if not copied
        else f"{counted(copied, 'piece')} of {len(result.nearest)} above the threshold: listen to both."
    )
    return (
        f"{verdict}\n\nEvery piece was searched in all of the training music by its pitches, four and two seconds at "
        "a time. "
        "A likeness of 1 is the same passage. "
        f"Songs that were never learned reach {short(result.held_out_median)} in the middle, and 95 % of "
        f"them stay below {short(result.held_out_high)}; above {short(result.threshold)} four seconds count as copied, "
        f"above {short(result.short_threshold)} two. "
        "Copies in another key or tempo are not found."
    )
