"""What fine-tuning did, as a part of the report: the verdict, and the model before and after, both to hear."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import soundfile

from piano.foundation.audio_io import read_audio
from piano.foundation.errors import AudioError
from piano.report.markup import Section, absent_section, render
from piano.report.sound_cards import SoundPlayer, sound_address
from piano.report.sounds import ShownSound
from piano.watching.effect_meter import EFFECT_FOLDER, SOUNDS, last_effect

TITLE = "What fine-tuning did"
NOTES = {"moved": "it moved", "not moved": "it did not move", "copied": "it copies"}
TITLES = {"before": "The model that it began with", "after": "The same seed after fine-tuning"}


def effect_section(run: Path, history: Sequence[dict[str, Any]]) -> Section:
    """What the run's log says of its effect, and the two sounds beside it."""
    told = last_effect(history)
    if told is None or not isinstance(told.get("sentence"), str):
        return absent_section("effect", TITLE, "This run did not begin with a trained model, or it has not ended.")
    players = [player for name in SOUNDS if (player := sound_of(run / EFFECT_FOLDER / f"{name}.wav", TITLES[name]))]
    content = render("effect.html", players=players)
    return Section("effect", TITLE, told["sentence"], content, NOTES.get(str(told.get("verdict")), ""))


def sound_of(path: Path, title: str) -> SoundPlayer | None:
    """A player of a sound; None where it is gone."""
    try:
        form = soundfile.info(path)
        waveform = read_audio(path, sample_rate=form.samplerate, channels=form.channels)
    except (AudioError, OSError, RuntimeError):
        return None
    sound = ShownSound("noise", title, "", waveform, form.samplerate)
    return SoundPlayer(sound, sound_address(sound))
