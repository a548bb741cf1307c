"""What one listens to: the first piece large, made music beside real music, fragments played on, a blind test."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from piano.evaluation.music_folder import is_dataset
from piano.foundation.doors import command
from piano.report.composed import compose_music
from piano.report.markup import Section, absent_section, render
from piano.report.sound_cards import sound_card
from piano.report.sounds import (
    ShownSound,
    SoundKind,
    apart,
    collect_made_music,
    collect_real_music,
    dataset_music,
    given_samples,
    sounds_of_run,
)

MOST_OF_A_KIND = 6
REAL_COUNT, CONTRASTED, CONTINUED, SHIPPED_COUNT = 2, 2, 4, 3
"""Real pieces; pairs of made and real, and fragments, that stand on the page unfolded; pieces of the shipped model."""
FEWEST_BLIND = 2
"""Pieces of either kind that the blind test asks for: with one each there is nothing to guess after the first round."""
SHIPPED_TITLE = "The model that comes with the project"
SHIPPED_WORDS = "It learned for three hours, from solo piano. This is what the same program can do with time."
"""checkpoints/MODEL_CARD.md has the figures."""
PICTURE_WORDS = (
    "Time goes to the right and low notes are at the bottom; every line is a note, the lines above it are its "
    "harmonics. Click into a picture, or use the arrow keys on it, to listen from there."
)


class HeardSounds(NamedTuple):
    """Everything there is to listen to, but the samples of training."""

    own: list[ShownSound]
    """Made music and real music."""
    shipped: list[ShownSound]
    """Of the model that comes with the project, to hear first."""
    notes: list[str]
    """Sentences about what is missing or was left out."""

    def of(self, kind: SoundKind) -> list[ShownSound]:
        """The run's sounds of a kind."""
        return [sound for sound in self.own if sound.kind == kind]


class Wanted(NamedTuple):
    """Which sounds the page should have."""

    music: Path | None
    """Folder that generate_music wrote; the run plays for the page without it."""
    real: Path | None
    shipped: Path | None
    compose: int
    """Pieces and continuations to play without `music`."""
    max_seconds: float
    made_in: Sequence[Path] = ()
    """Folders in which `generate` may have written sounds of this run."""


def gather_sounds(run: Path, dataset: Path | None, wanted: Wanted) -> HeardSounds:
    """Made and real music, and sentences about what is missing or was left out.

    Raises
    ------
    AudioError, DatasetError
        A folder that was named holds no music, or none that can be read.
    """
    music = wanted.music or given_samples(run)
    if music is None:
        mine, told = sounds_of_run(run, wanted.made_in, max_seconds=wanted.max_seconds)
        composed = compose_music(
            run,
            count=wanted.compose,
            seconds=wanted.max_seconds,
            dataset=None if wanted.real else dataset,
            known={sound.kind for sound in mine},
        )
        sounds, notes = mine + composed.sounds, told + composed.notes
    else:
        sounds, notes = collect_made_music(music, max_seconds=wanted.max_seconds), []
    if wanted.real is not None:
        notes = [note for note in notes if "--real" not in note]
        sounds += real_music(wanted.real, sounds)
    elif music is not None and dataset is not None:
        sounds += real_music(dataset, sounds)
    shipped = collect_made_music(wanted.shipped, max_seconds=wanted.max_seconds) if wanted.shipped else []
    kept: list[ShownSound] = []
    for kind in ("noise", "continuation", "reconstruction", "real"):
        own = [sound for sound in sounds if sound.kind == kind]
        kept += own[:MOST_OF_A_KIND]
        if len(own) > MOST_OF_A_KIND:
            notes.append(f"{MOST_OF_A_KIND} of {len(own)} sounds ({kind}) are shown, to keep this file small.")
    first = sorted(shipped, key=lambda sound: sound.kind != "noise")[:SHIPPED_COUNT]
    return HeardSounds(apart(kept), first, notes)


def real_music(folder: Path, beside: Sequence[ShownSound]) -> list[ShownSound]:
    """Real music in the form of what it stands beside."""
    if is_dataset(folder):
        return dataset_music(folder, count=REAL_COUNT, seconds=20.0)
    rate, channels = (beside[0].sample_rate, len(beside[0].waveform)) if beside else (44_100, 2)
    return collect_real_music(folder, count=REAL_COUNT, sample_rate=rate, channels=channels)


def listen_section(heard: HeardSounds, learned: str) -> Section:
    """The first piece, large; with the shipped model's music before it where that was given.

    Parameters
    ----------
    heard : Heard
    learned : str
        How long the run learned ("three minutes"); empty where nobody knows.
    """
    own = (heard.of("noise") or heard.of("continuation"))[:1]
    if not own and not heard.shipped:
        return absent_section("listen", "Listen", "There is no piece to hear. " + " ".join(heard.notes))
    content = render(
        "listen.html",
        shipped=[
            sound_card(sound, size="large" if place else "hero", label=shipped_label(sound))
            for place, sound in enumerate(heard.shipped)
        ],
        shipped_title=SHIPPED_TITLE,
        shipped_words=SHIPPED_WORDS,
        own_title=f"What these {learned} made" if learned else "What this model made",
        own=[sound_card(sound, size="hero") for sound in own],
        notes=heard.notes,
    )
    return Section("listen", "Listen", "", content)


def shipped_label(sound: ShownSound) -> str:
    """What a player is called that may stand beside one of the same title."""
    return f"{sound.title}, the project's model"


def contrast_section(heard: HeardSounds) -> Section:
    """Made music beside real music, pair by pair; more of it folded."""
    title = "Made and real"
    made, real, copies = heard.of("noise"), heard.of("real"), heard.of("reconstruction")
    rest = made[1:]
    if not rest and not real and not copies:
        sentence = "There is no real music to compare with: --dataset or --real adds some."
        return absent_section("sounds", title, sentence)
    if not real and not copies:
        content = render("contrast.html", columns=[], more=[sound_card(sound) for sound in rest], copies=[])
        return Section("sounds", "More pieces", PICTURE_WORDS, content)
    pairs_shown = min(len(sounds) for sounds in (rest, real) if sounds) if rest or real else 0
    pairs_shown = min(pairs_shown, CONTRASTED)  # columns of one height
    columns = [
        (name, [sound_card(sound) for sound in sounds[:pairs_shown]])
        for name, sounds in (("Made", rest), ("Real", real))
        if sounds
    ]
    content = render(
        "contrast.html",
        columns=columns,
        more=[sound_card(sound) for sound in (*rest[pairs_shown:], *real[pairs_shown:])],
        copies=[sound_card(sound) for sound in copies],
    )
    return Section("sounds", title, PICTURE_WORDS, content)


def continuations_section(sounds: Sequence[ShownSound]) -> Section:
    """Fragments of real music, each with what was made of it."""
    cards = [sound_card(sound) for sound in sounds if sound.kind == "continuation"]
    title = "Real music, played on"
    if not cards:
        sentence = f"There is no continuation to hear: {command('generate', '--prompt', 'FILE')} makes one."
        return absent_section("continuations", title, sentence)
    words = (
        "The model was given the beginning and plays on. In the waveform the real music has one colour, the model's "
        "own another; it takes over at the dashed line."
    )
    content = render("continuations.html", shown=cards[:CONTINUED], more=cards[CONTINUED:])
    return Section("continuations", title, words, content)


def blind_section(heard: HeardSounds) -> Section:
    """A game: one real sound, one made; the page's script asks and keeps the score."""
    title = "Can you tell?"
    if min(len(heard.of("noise")), len(heard.of("real"))) < FEWEST_BLIND:
        sentence = "A blind test needs two pieces from noise and two of real music: --music and --real give them."
        return absent_section("blind", title, sentence)
    words = "Two excerpts of a few seconds. One is real music, one this model made out of noise. Which one is real?"
    return Section("blind", title, words, render("blind.html"))
