"""Does the ruler see damage? Real music is damaged in known ways and grades, and held against other real music.

    python benchmarks/ruler_damages.py --real ~/music
    python benchmarks/ruler_damages.py --real ~/music --clips 96 --json damages.json

Every song gives passages to measure with and other passages to damage. Those of one song are never compared, so the
undamaged ones stand for another draw of the same music. Every damage must lower the score in the order of its grades.
Where kinds of music are missing (the folders of --real, or songs where there are no folders), coverage must fall by
about the share that is missing.
"""

import argparse
import json
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal
from scipy.ndimage import uniform_filter1d

from piano.evaluation.clip_features import feature_matrix
from piano.evaluation.distances import spectrum_noise
from piano.evaluation.music_folder import read_excerpts
from piano.evaluation.set_scores import Reference, SetScores, kernel_score_draws, score_set
from piano.foundation.screen_text import columns, text_table

Clips = Sequence[NDArray]
NOISE_CLIPS = 16


class Damage(NamedTuple):
    """One kind of damage, in grades from light to heavy."""

    name: str
    grades: tuple[float, ...]
    apply: Callable[[NDArray, float, int, int], NDArray]
    """From (clip [shape=(channels, samples)], grade, sample rate, number of the clip) to the damaged clip."""
    is_stereo: bool = False
    """Whether it needs two channels."""


# --- damages of one clip


def blurred(clip: NDArray, frames: float, sample_rate: int, index: int) -> NDArray:
    """Levels smeared over so many frames of 16 ms, phases kept: onsets go soft."""
    n_fft = 2 ** round(np.log2(0.064 * sample_rate))
    hop = n_fft // 4
    spectrum = signal.stft(clip, sample_rate, nperseg=n_fft, noverlap=n_fft - hop)[2]
    size = np.abs(spectrum)
    smooth = uniform_filter1d(size, int(frames), axis=2)
    sound = signal.istft(spectrum * smooth / (size + 1e-7), sample_rate, nperseg=n_fft, noverlap=n_fft - hop)[1]
    return np.pad(sound, ((0, 0), (0, max(0, clip.shape[1] - sound.shape[1]))))[:, : clip.shape[1]]


def low_passed(clip: NDArray, hz: float, sample_rate: int, index: int) -> NDArray:
    """Nothing left above a frequency."""
    return signal.sosfiltfilt(signal.butter(8, min(hz, 0.45 * sample_rate), fs=sample_rate, output="sos"), clip)


def noisy(clip: NDArray, below_db: float, sample_rate: int, index: int) -> NDArray:
    """White noise so many dB below the clip, in every channel its own."""
    noise = np.random.default_rng(index).standard_normal(clip.shape)
    return clip + noise * np.sqrt(np.mean(np.square(clip))) * 10 ** (-below_db / 20)


def shuffled(clip: NDArray, seconds: float, sample_rate: int, index: int) -> NDArray:
    """Pieces of so many seconds in another order."""
    pieces = np.array_split(clip, max(2, round(clip.shape[1] / sample_rate / seconds)), axis=1)
    return np.concatenate([pieces[place] for place in np.random.default_rng(index).permutation(len(pieces))], axis=1)


def without_octaves(clip: NDArray, octaves: float, sample_rate: int, index: int) -> NDArray:
    """A register is missing: so many octaves around 500 Hz."""
    edges = [500.0 * 2 ** (-octaves / 2), min(500.0 * 2 ** (octaves / 2), 0.45 * sample_rate)]
    return signal.sosfiltfilt(signal.butter(4, edges, btype="bandstop", fs=sample_rate, output="sos"), clip)


def gated(clip: NDArray, depth_db: float, sample_rate: int, index: int) -> NDArray:
    """Too even a beat: every half second begins loud and has fallen by so many dB at its end."""
    phase = (np.arange(clip.shape[1]) / sample_rate / 0.5) % 1.0
    return clip * 10 ** (-depth_db * phase / 20)


def narrowed(clip: NDArray, share: float, sample_rate: int, index: int) -> NDArray:
    """Such a share of the side is gone."""
    return _with_side(clip, 1.0 - share)


def widened_image(clip: NDArray, by_db: float, sample_rate: int, index: int) -> NDArray:
    """The side is so many dB louder."""
    return _with_side(clip, 10 ** (by_db / 20))


def _with_side(clip: NDArray, gain: float) -> NDArray:
    mid, side = (clip[0] + clip[1]) / 2, gain * (clip[0] - clip[1]) / 2
    return np.stack([mid + side, mid - side])


def swapped(clip: NDArray, share: float, sample_rate: int, index: int) -> NDArray:
    """In such a share of the clips left and right have changed places."""
    return clip[::-1] if _is_chosen(index, share) else clip


def inverted(clip: NDArray, share: float, sample_rate: int, index: int) -> NDArray:
    """The right channel's sign is turned in the first part of the clip."""
    turned = clip.copy()
    turned[1, : round(share * clip.shape[1])] *= -1
    return turned


def panned(clip: NDArray, by_db: float, sample_rate: int, index: int) -> NDArray:
    """Left is so many dB louder than it was."""
    return clip * np.array([[10 ** (by_db / 20)], [1.0]])


def softer(clip: NDArray, by_db: float, sample_rate: int, index: int) -> NDArray:
    """One clip in five is so many dB softer."""
    return clip * 10 ** (-by_db / 20) if index % 5 == 0 else clip


def louder(clip: NDArray, by_db: float, sample_rate: int, index: int) -> NDArray:
    """Every clip is so many dB louder, and clipped where it must be."""
    return np.clip(clip * 10 ** (by_db / 20), -1.0, 1.0)


def silenced(clip: NDArray, share: float, sample_rate: int, index: int) -> NDArray:
    """Such a share of the clips is silent."""
    return clip * 0.0 if _is_chosen(index, share) else clip


def _is_chosen(index: int, share: float) -> bool:
    """Whether a clip is among such a share of them, spread over all; those of a smaller share are among a larger."""
    return (index * 7) % 20 < round(20 * share)


DAMAGES = (
    Damage("blurred in time, frames", (3, 7, 21), blurred),
    Damage("low-pass, Hz", (4000, 2000, 800), low_passed),
    Damage("noise, dB below", (40, 25, 10), noisy),
    Damage("shuffled pieces, s", (2, 1, 0.5), shuffled),
    Damage("octaves missing", (1, 2, 4), without_octaves),
    Damage("clockwork, dB", (6, 12, 24), gated),
    Damage("a fifth softer, dB", (6, 12, 24), softer),
    Damage("louder, dB", (3, 6, 12), louder),
    Damage("silent clips, share", (0.05, 0.2, 0.5), silenced),
    Damage("side gone, share", (0.5, 0.75, 1.0), narrowed, is_stereo=True),
    Damage("side louder, dB", (6, 9, 12), widened_image, is_stereo=True),
    Damage("sides swapped, share", (0.2, 0.5, 1.0), swapped, is_stereo=True),
    Damage("one side inverted, share", (0.25, 0.5, 1.0), inverted, is_stereo=True),
    Damage("left louder, dB", (3, 6, 12), panned, is_stereo=True),
)


def joined(clips: Clips, seconds: float, sample_rate: int) -> list[NDArray]:
    """Nothing comes again: pieces of so many seconds, each from another clip."""
    samples = round(seconds * sample_rate)
    length = clips[0].shape[1]
    made = []
    for index in range(len(clips)):
        starts = range(0, length, samples)
        parts = [
            clips[(index + 5 * turn) % len(clips)][:, start : start + samples] for turn, start in enumerate(starts)
        ]
        made.append(np.concatenate(parts, axis=1))
    return made


JOINED_SECONDS = (4.0, 2.0, 1.0)


# --- holding them against other music


class Row(NamedTuple):
    """What the ruler says of one set."""

    name: str
    grade: float | None
    sets: SetScores
    worse: float
    """Share of draws of the songs in which the score is above the undamaged set's."""


class Halves(NamedTuple):
    """Passages to measure with, and others of the same songs to damage."""

    reference: Reference
    clips: list[NDArray]
    files: list[Hashable]


def halves_of(clips: Clips, files: Sequence[Hashable], sample_rate: int) -> Halves:
    """Every other clip of every song measures, the others are there to be damaged."""
    turns: dict[Hashable, int] = {}
    places: tuple[list[int], list[int]] = ([], [])
    for index, file in enumerate(files):
        turn = turns.get(file, 0)
        turns[file] = turn + 1
        places[turn % 2].append(index)
    real, other = ([clips[index] for index in half] for half in places)
    noise = spectrum_noise(real, sample_rate)[:NOISE_CLIPS]
    reference = Reference.fit(
        feature_matrix(real, sample_rate), [files[index] for index in places[0]], feature_matrix(noise, sample_rate)
    )
    return Halves(reference, other, [files[index] for index in places[1]])


def damaged(damage: Damage, grade: float, clips: Clips, sample_rate: int) -> list[NDArray]:
    """Clips with one grade of a damage."""
    return [damage.apply(clip, grade, sample_rate, index).astype(np.float32) for index, clip in enumerate(clips)]


def damage_rows(halves: Halves, sample_rate: int) -> list[Row]:
    """The undamaged passages, then every grade of every damage that their channels allow."""
    clips, files, reference = halves.clips, halves.files, halves.reference
    whole = feature_matrix(clips, sample_rate)
    _, drawn = kernel_score_draws(reference, reference.scale.transform(whole), files)
    rows = [Row("undamaged", None, score_set(reference, whole, files), 0.0)]
    for damage in DAMAGES:
        if damage.is_stereo and len(clips[0]) < 2:
            continue
        for grade in damage.grades:
            rows.append(
                _row(halves, damage.name, grade, damaged(damage, grade, clips, sample_rate), sample_rate, drawn)
            )
    for seconds in JOINED_SECONDS:
        made = joined(clips, seconds, sample_rate)
        rows.append(_row(halves, "joined songs, s", seconds, made, sample_rate, drawn))
    return rows


def _row(halves: Halves, name: str, grade: float, clips: Clips, sample_rate: int, undamaged: NDArray) -> Row:
    features = feature_matrix(clips, sample_rate)
    _, drawn = kernel_score_draws(halves.reference, halves.reference.scale.transform(features), halves.files)
    sets = score_set(halves.reference, features, halves.files)
    return Row(name, grade, sets, float(np.nanmean(drawn > undamaged)))


class Missing(NamedTuple):
    """What coverage and recall are where only some of the music is made."""

    name: str
    left: float
    """Share of the real clips whose kind or song is made."""
    coverage: float
    recall: float


def missing_rows(
    halves: Halves, features: NDArray, kinds: Sequence[Hashable], real_kinds: Sequence[Hashable], *, draws: int = 6
) -> list[Missing]:
    """Passages of the songs of the reference themselves, all equally many: of all kinds, of some, of a few songs."""
    random = np.random.default_rng(0)
    count = max(4, len(features) // 3)
    groups = {"kinds": (list(kinds), list(real_kinds)), "songs": (list(halves.files), list(halves.reference.files))}
    names = {word: list(dict.fromkeys(own)) for word, (own, _) in groups.items()}
    left = {
        "all": ("kinds", len(names["kinds"])),
        **{f"{share:g} of the kinds": ("kinds", round(share * len(names["kinds"]))) for share in (0.75, 0.5, 0.25)},
        **{f"{songs} of {len(names['songs'])} songs": ("songs", songs) for songs in (8, 3, 1)},
    }
    rows = []
    for name, (word, kept) in left.items():
        if not 0 < kept <= len(names[word]):
            continue
        found = []
        for _ in range(draws):
            chosen = {names[word][place] for place in random.permutation(len(names[word]))[:kept]}
            own, real = ([label in chosen for label in labels] for labels in groups[word])
            places = np.flatnonzero(own)
            picked = random.permutation(places)[:count] if len(places) >= count else random.choice(places, count)
            sets = score_set(halves.reference, features[picked], [("made", index) for index in range(count)])
            found.append((float(np.mean(real)), sets.coverage.value, sets.recall.value))
        rows.append(Missing(name, *np.mean(found, axis=0)))
    return rows


# --- telling


def out_of_order(rows: Sequence[Row]) -> list[str]:
    """Damages that are not scored worse with every grade, or not worse than nothing at all."""
    wrong = []
    for name in dict.fromkeys(row.name for row in rows[1:]):
        scores = [rows[0].sets.kernel_score.value, *(row.sets.kernel_score.value for row in rows if row.name == name)]
        if scores != sorted(scores):
            wrong.append(name)
    return wrong


def damage_table(rows: Sequence[Row]) -> str:
    """A line for every grade."""
    table = [["damage", "score", "worse", "told apart", "coverage", "recall", "strays"]]
    for row in rows:
        score = row.sets.kernel_score
        values = (row.sets.told_apart, row.sets.coverage, row.sets.recall, row.sets.strays)
        title = row.name if row.grade is None else f"{row.name}: {row.grade:g}"
        score_text = f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
        table.append([title, score_text, f"{row.worse:.2f}", *(f"{figure.value:.2f}" for figure in values)])
    return text_table(table, width=columns())


def kind_of(file: Hashable) -> str:
    """The folder that a song lies in, or the song itself."""
    folder, _, rest = str(file).partition("/")
    return folder if rest else str(file)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    description, example = (__doc__ or "").split("\n\n", maxsplit=1)
    parser = argparse.ArgumentParser(
        description=description, epilog=example, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", type=Path, required=True, help="real music: a folder of sound files")
    parser.add_argument("--clips", type=int, default=192, help="half measure, half are damaged (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a clip (default: %(default)s)")
    parser.add_argument("--sample-rate", type=int, default=16_000, help="samples a second (default: %(default)s)")
    parser.add_argument("--channels", type=int, default=2, choices=(1, 2), help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file for all figures")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = parse_arguments(argv)
    rate = options.sample_rate
    excerpts = read_excerpts(
        options.real, sample_rate=rate, channels=options.channels, seconds=options.seconds, count=options.clips
    )
    halves = halves_of(excerpts.clips, excerpts.files, rate)
    rows = damage_rows(halves, rate)
    print(f"{len(halves.reference.real)} clips measure, {len(halves.clips)} others of the same songs are damaged.")
    print("Worse: share of draws of the songs in which the damaged set scores worse than the undamaged one.\n")
    print(damage_table(rows))
    wrong = out_of_order(rows)
    print(f"\nNot in order: {', '.join(wrong) or 'none'}\n")
    whole = feature_matrix(halves.clips, rate)
    lost = missing_rows(
        halves, whole, [kind_of(file) for file in halves.files], [kind_of(file) for file in halves.reference.files]
    )
    cells = [[row.name, f"{row.left:.2f}", f"{row.coverage:.2f}", f"{row.recall:.2f}"] for row in lost]
    print(text_table([["made music has", "real share", "coverage", "recall"], *cells], width=columns()))
    if options.json:
        told = {"damages": [[row.name, row.grade, row.worse, row.sets._asdict()] for row in rows], "missing": lost}
        options.json.write_text(json.dumps(told, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
