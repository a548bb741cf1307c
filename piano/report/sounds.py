"""The sounds of a report: what training and generate_music wrote, told by their names, and real music beside it."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from piano.foundation.audio_io import find_audio_files, read_audio
from piano.foundation.checkpoint_format import list_epochs
from piano.foundation.dataset_format import DatasetManifest, open_pairs, read_manifest
from piano.foundation.doors import command
from piano.foundation.errors import AudioError, CheckpointError
from piano.foundation.receipt import Kind, Receipt, discreet_name, model_hash
from piano.foundation.screen_text import counted, printable
from piano.report.titles import continued_title, copied_title, made_title, receipt_of, song_title, told_apart
from piano.utilities import load_checkpoint

REAL_SECONDS = 20.0
BEFORE_SEAM_SECONDS = 8.0
BEFORE_SEAM_SHARE = 0.4
"""Of a continuation that is too long to be shown whole: what is shown of its fragment, at most, and of the excerpt."""
SAMPLES_FOLDER = "samples"
SAVED_NAME = re.compile(r"epoch_(\d+)_(.+)\.wav")
SoundKind = Literal["noise", "continuation", "reconstruction", "real"]
SHOWN_AS: dict[Kind, SoundKind] = {
    "sample": "noise",
    "full": "continuation",
    "continuation": "continuation",
    "reconstruction": "reconstruction",
    "variation": "reconstruction",
    "infill": "reconstruction",
    "loop": "noise",
}
"""Where on the page a sound of each kind stands: a variation and an infill are made from a sound, too."""


class ShownSound(NamedTuple):
    """One sound to show."""

    kind: SoundKind
    title: str
    words: str
    """What it is, in a sentence."""
    waveform: NDArray[np.float32]
    """[shape=(channels, samples)]"""
    sample_rate: int
    takeover_seconds: float | None = None
    """Where a continuation leaves its prompt."""

    @property
    def seconds(self) -> float:
        """Length of what is shown."""
        return self.waveform.shape[1] / self.sample_rate


def given_samples(run: Path) -> Path | None:
    """The folder of music that lies beside a model that was given away, if there is some."""
    folder = Path(run) / SAMPLES_FOLDER
    paths = find_audio_files(folder) if folder.is_dir() else []
    return folder if any(not SAVED_NAME.fullmatch(path.name) for path in paths) else None


def saved_samples(run: Path) -> dict[str, dict[int, Path]]:
    """What training wrote at its saves: file of every epoch by the sound's name (sample_0, continuation)."""
    found: dict[str, dict[int, Path]] = {}
    for path in sorted((Path(run) / SAMPLES_FOLDER).glob("epoch_*.wav")):
        if matched := SAVED_NAME.fullmatch(path.name):
            found.setdefault(matched.group(2), {})[int(matched.group(1))] = path
    return {name: dict(sorted(epochs.items())) for name, epochs in sorted(found.items())}


def spread_epochs(epochs: Iterable[int], most: int, *, keep: int | None = None) -> list[int]:
    """At most `most` epochs, evenly over all of them, with the first, the last and the one to keep."""
    have = sorted(epochs)
    if len(have) <= most:
        return have
    chosen = [have[index] for index in np.linspace(0, len(have) - 1, most).round().astype(int)]
    if keep in have and keep not in chosen:
        inner = chosen[1:-1] or chosen
        chosen[chosen.index(min(inner, key=lambda epoch: abs(epoch - keep)))] = keep
    return sorted(chosen)


def recordings_of(manifest: DatasetManifest, split: str) -> list[str] | None:
    """The file each pair of a split was cut from; None where the data set does not know."""
    if manifest.pair_songs is None:
        return None
    names = [printable(song) for song in manifest.songs[split]]
    return [names[place] for place in manifest.pair_songs[split]]


def dataset_music(folder: Path, *, count: int, seconds: float, split: str = "validation") -> list[ShownSound]:
    """The beginnings of pairs spread over a split, of different recordings where the data set knows them.

    Parameters
    ----------
    seconds : float
        Of each; at most what a pair holds.

    Raises
    ------
    DatasetError
        There is no data set, or it is damaged.
    """
    manifest, pairs = read_manifest(folder), open_pairs(folder, split)
    recordings = recordings_of(manifest, split) or [f"{split} pair {index}" for index in range(len(pairs))]
    firsts = sorted({name: index for index, name in reversed(list(enumerate(recordings)))}.values())
    chosen = np.unique(np.linspace(0, len(firsts) - 1, min(count, len(firsts))).round().astype(int))
    samples = round(seconds * manifest.sample_rate)
    sounds = []
    for place in (firsts[index] for index in chosen):
        waveform = np.concatenate([pairs[place, 0], pairs[place, 1]], axis=1)[:, :samples]
        sounds.append(ShownSound("real", song_title(recordings[place]), "", waveform, manifest.sample_rate))
    return apart(sounds)


def load_sound(path: Path, *, max_seconds: float, begin: float = 0.0) -> tuple[NDArray[np.float32], int]:
    """At most `max_seconds` of a file from second `begin` on, at its own rate.

    Returns
    -------
    waveform : np.ndarray [shape=(channels, samples)]
    sample_rate : int

    Raises
    ------
    AudioError
        The file cannot be read.
    """
    information = inspect_sound(path)
    rate, channels = information.samplerate, min(information.channels, 2)
    waveform = read_audio(
        path,
        sample_rate=rate,
        channels=channels,
        max_seconds=begin + max_seconds,
        last_seconds=min(max_seconds, information.duration - begin) if begin else None,
    )
    return waveform, rate


def collect_made_music(folder: Path, *, max_seconds: float) -> list[ShownSound]:
    """The files that generate_music wrote, in order; a continuation is shown whole, with the place where it begins.

    Raises
    ------
    AudioError
        There is no audio file in the folder.
    """
    paths = find_audio_files(folder) if folder.is_dir() else []
    if not paths:
        raise AudioError(
            f"there is no sound in {printable(folder)}. Make some with `{command('generate', '--output', folder)}`."
        )
    return describe_all(paths, max_seconds=max_seconds)


def describe_all(paths: Sequence[Path], *, max_seconds: float) -> list[ShownSound]:
    """Made sounds with titles that all differ; a continuation whose whole is there too is not shown twice.

    Where several models made them, each says its epoch, and those of the latest come first.
    """
    shown = [
        (path, receipt_of(path))
        for path in paths
        if not (path.stem.endswith(".continuation") and companion(path, "full") in paths)
    ]
    is_mixed = len({receipt.model for _, receipt in shown if receipt}) > 1
    if is_mixed:
        shown.sort(key=lambda item: -item[1].epoch if item[1] else 1)
    numbers: Counter[SoundKind] = Counter()
    sounds = []
    for path, receipt in shown:
        kind = kind_of(path, receipt)
        numbers[kind] += 1
        sound = describe(path, kind, receipt, paths, number=numbers[kind], max_seconds=max_seconds)
        if is_mixed and receipt:
            sound = sound._replace(words=f"Epoch {receipt.epoch}. {sound.words}".strip())
        sounds.append(sound)
    return apart(sounds)


def gap_words(receipt: Receipt) -> str:
    """Where an infill has new music."""
    told = [f"from {begin:g} to {end:g} s" for begin, end in receipt.regions or ()]
    left, right = receipt.extended or (0.0, 0.0)
    told = [f"{left:g} s before it"] * bool(left) + told + [f"{right:g} s behind it"] * bool(right)
    return ", ".join(told)


def apart(sounds: Sequence[ShownSound]) -> list[ShownSound]:
    """The sounds, with titles that all differ."""
    titles = told_apart([sound.title for sound in sounds])
    return [sound._replace(title=title) for sound, title in zip(sounds, titles, strict=True)]


def kind_of(path: Path, receipt: Receipt | None) -> SoundKind:
    """What a file holds, by its receipt or by its name."""
    if receipt is not None:
        return SHOWN_AS[receipt.kind]
    if path.stem.endswith((".full", ".continuation")) or path.stem.startswith("continuation_"):
        return "continuation"
    return "reconstruction" if path.stem.endswith(".reconstruction") else "noise"


def sounds_of_run(run: Path, folders: Iterable[Path], *, max_seconds: float) -> tuple[list[ShownSound], list[str]]:
    """What `generate` made with the epoch of a run that plays, by the receipts in the files, and sentences about it.

    Parameters
    ----------
    run : Path
        Folder of checkpoints. Sounds of its other epochs are counted, and not shown: they are of other models.
    folders : iterable of paths
        Where made sounds may lie; those that do not exist are passed over.
    max_seconds : float
        Of each sound.
    """
    model = ""
    sounds: list[ShownSound] = []
    notes = []
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        paths = find_audio_files(folder) if folder.is_dir() else []
        receipts = {path: receipt_of(path) for path in paths}
        model = model or (hash_that_plays(run) if any(receipts.values()) else "")
        own = [path for path, receipt in receipts.items() if receipt and model and receipt.model == model]
        name = printable(discreet_name(folder))
        if own:
            sounds += describe_all(own, max_seconds=max_seconds)
            others = len(paths) - len(own)
            few = f" {counted(others, 'sound')} of other models or epochs there: --music {name} shows all."
            notes.append(f"What {name} holds of this model is shown.{few if others else ''}")
        elif paths:
            notes.append(f"{name} holds no sound of this model; --music {name} shows what is there.")
    return sounds, notes


def hash_that_plays(run: Path) -> str:
    """Hash of the generator that plays if no epoch is named; empty where there is none that can be read."""
    if not list_epochs(run, "generator"):
        return ""
    try:
        content = load_checkpoint(run, "generator", "best")
    except CheckpointError:
        return ""
    return model_hash(content.get("average") or content["model"], content["keywords"])


def companion(path: Path, kind: str) -> Path:
    """The file beside `NAME.continuation.wav` (or `NAME.full.wav`) that is called `NAME.KIND.wav`."""
    return path.with_name(re.sub(r"\.(continuation|full)$", f".{kind}", path.stem) + path.suffix)


def describe(
    path: Path, kind: SoundKind, receipt: Receipt | None, paths: Iterable[Path], *, number: int, max_seconds: float
) -> ShownSound:
    """A file with a title and words that say what it is."""
    takeover = takeover_of(path, receipt, paths) if kind == "continuation" else None
    begin = seam_begin(takeover, sound_seconds(path), max_seconds) if takeover else 0.0
    waveform, rate = load_sound(path, max_seconds=max_seconds, begin=begin)
    if kind == "noise":
        return ShownSound(kind, made_title(path, receipt, number), "", waveform, rate)
    if kind == "reconstruction":
        words = "Through the autoencoder and back."
        if receipt is not None and receipt.amount is not None:
            words = f"Another take of it, {receipt.amount:.0%} of the way to other music of its style."
        if receipt is not None and receipt.kind == "infill":
            words = f"The recording, with new music {gap_words(receipt)}."
        return ShownSound(kind, copied_title(path, receipt), words, waveform, rate)
    title = continued_title(path, receipt, number)
    if takeover is None:
        words = "Its own music only: the fragment before it is not in this file."
        return ShownSound(kind, title, words, waveform, rate)
    given = f"The last {takeover - begin:.1f} s of {takeover:.1f} s" if begin else f"{takeover:.1f} s"
    words = f"{given} of the fragment it was given, then its own music."
    return ShownSound(kind, title, words, waveform, rate, takeover - begin)


def seam_begin(takeover: float, length: float, most: float) -> float:
    """The second from which a continuation is shown, so that the model's own music is in what is shown.

    Parameters
    ----------
    takeover, length : float
        Where the model takes over, and how long the sound is, in seconds.
    most : float
        Seconds that are shown; a sound that is no longer is shown whole.
    """
    before = min(BEFORE_SEAM_SECONDS, BEFORE_SEAM_SHARE * most)
    return 0.0 if length <= most else max(takeover - before, 0.0)


def takeover_of(path: Path, receipt: Receipt | None, paths: Iterable[Path]) -> float | None:
    """Second at which the model takes over from the fragment; None where the file does not begin with one."""
    if receipt is not None:
        begins = sound_seconds(path) - receipt.seconds if receipt.kind == "full" else 0.0
    elif path.stem.endswith(".full") and (continuation := companion(path, "continuation")) in paths:
        begins = sound_seconds(path) - sound_seconds(continuation)
    else:
        begins = 0.0
    return begins if begins > 0.05 else None


def inspect_sound(path: Path) -> Any:
    """What the file's header says: samplerate, channels, duration; raises AudioError if it has none."""
    try:
        return soundfile.info(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{printable(path)} cannot be read ({error}).") from error


def sound_seconds(path: Path) -> float:
    """Length of a sound file."""
    return float(inspect_sound(path).duration)


def collect_real_music(folder: Path, *, count: int, sample_rate: int, channels: int) -> list[ShownSound]:
    """Excerpts from the middle of files spread over the folder, at the rate of what they are compared with.

    Raises
    ------
    AudioError
        There is no audio file in the folder, or one cannot be read.
    """
    paths = find_audio_files(folder) if folder.is_dir() else []
    if not paths:
        raise AudioError(
            f"there is no sound in {printable(folder)}. Name a folder of music with --real, or leave it out."
        )
    chosen = [paths[index] for index in np.unique(np.linspace(0, len(paths) - 1, count).round().astype(int))]
    sounds = []
    for path in chosen:
        begin = max(sound_seconds(path) / 2 - REAL_SECONDS / 2, 0.0)
        waveform = read_audio(path, sample_rate=sample_rate, channels=channels, max_seconds=begin + REAL_SECONDS)[
            :, round(begin * sample_rate) :
        ]
        sounds.append(ShownSound("real", song_title(path.name), "", waveform, sample_rate))
    return apart(sounds)
