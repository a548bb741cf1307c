"""A trained model as a Python object: `musigan.load("shipped").generate(seconds=20, seed=3)`."""

import argparse
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from piano.best_of import best_item
from piano.composer import Composer, Sampling
from piano.foundation import compiled
from piano.foundation.audio_io import write_audio
from piano.foundation.bounds import BARS, BEST_OF, SAMPLING_STEPS, SURPRISE, TEMPO, outside
from piano.foundation.errors import ConfigError
from piano.foundation.keys import Key
from piano.foundation.model_folder import named_folder
from piano.foundation.runtime import choose_device, sampling_dtype
from piano.foundation.sound_array import Sound
from piano.foundation.spooled_sound import CEILING_DB, FULL_SCALE
from piano.generate_music import (
    DECODED_FRAMES,
    as_loud_as,
    hear_gaps,
    hear_prompt,
    infilled_sounds,
    latents_of_file,
    refuse_short_journey,
    style_of_file,
    varied_sounds,
)
from piano.generate_options import AMOUNT
from piano.latent_style import Style, Wishes
from piano.loops import LoopForm, Meter, asked_of_music, compose_loop
from piano.piano_model import VariationalAttentionModel
from piano.song_form import FORMS, SongForm, refuse_no_room_to_end
from piano.utilities import build_generator, load_checkpoint

if TYPE_CHECKING:
    from piano.evaluation.outcome import Evaluation


class _Piece(NamedTuple):
    """What is asked of a new piece; see `Player.generate`."""

    seconds: float
    seed: int
    steps: int | str
    like: str | Path | None
    to: str | Path | None
    tempo: float | None
    key: str | None
    meter: str | None
    surprise: float
    form: str
    ending: bool | None


class _Begun(NamedTuple):
    """What composes it."""

    composer: Composer
    style: Style | None
    until: Style | None
    form: SongForm


def _form_of(form: str, ending: bool | None, seconds: float) -> SongForm:
    """What is asked of the form of a piece; raises ConfigError."""
    if form not in FORMS:
        raise ConfigError(f"form must be {' or '.join(FORMS)}, got {form!r}")
    return SongForm.asked(form, ending, seconds)


class Player:
    """A model that is ready to make music.

    Parameters
    ----------
    model : str or Path
        Folder of a run, or of a model that was given away; `shipped` is the one that comes with the project.
    epoch : int or str
        A number, `latest`, or `best`: what was judged best.
    device : str
        auto, cpu, cuda or mps.

    Raises
    ------
    CheckpointError
        There is no model, or it is damaged.
    """

    def __init__(self, model: str | Path = "shipped", *, epoch: int | str = "best", device: str = "auto") -> None:
        place = choose_device(device)
        self.folder = named_folder(model)
        content = load_checkpoint(self.folder, "generator", epoch)
        self.epoch: int = content["epoch"]
        self.generator: VariationalAttentionModel = build_generator(content, device=place)
        self._lessons = {"run": content.get("run")}
        self._dtype = sampling_dtype(place)
        kernels = compiled.kernels() if place == "cpu" else None
        self._template = Composer(self.generator, Sampling(dtype=self._dtype), kernels=kernels)

    @property
    def sample_rate(self) -> int:
        """Samples per second of all that it makes."""
        return self.generator.sample_rate

    @property
    def channels(self) -> int:
        """1 (mono) or 2 (stereo)."""
        return self.generator.sound_channels

    def generate(
        self,
        seconds: float = 30.0,
        *,
        seed: int = 0,
        item: int = 0,
        steps: int | str = "auto",
        like: str | Path | None = None,
        to: str | Path | None = None,
        tempo: float | None = None,
        key: str | None = None,
        meter: str | None = None,
        surprise: float = 1.0,
        form: str = "returning",
        ending: bool | None = None,
        best_of: int = 1,
    ) -> Sound:
        """New music from white noise: what `musigan generate --seed SEED` writes as sample number `item`.

        Parameters
        ----------
        seconds : float
        seed, item : int
            The same numbers give the same music.
        steps : int or str
            Sampling steps, or `auto`: what scored best.
        like : str or Path, optional
            A sound file: music in its style, not with its notes.
        to : str or Path, optional
            Another one, whose style the music goes over to, from that of `like`.
        tempo : float, optional
            Quarter notes a minute; by default it is drawn.
        key : str, optional
            Such as `D minor` or `Dm`; by default it is drawn.
        meter : str, optional
            Such as `3/4`: music that comes again after each bar; by default nothing is asked of bars.
        surprise : float
            From 0, calm, to 1, as usual, to 3.
        form : str
            `returning`: the theme comes again; `free`: each window goes on from the one before.
        ending : bool, optional
            Whether it comes to a close; by default pieces of half a minute and more do.
        best_of : int
            Compose so many pieces, those from `item * best_of` on, and keep the one whose styles are nearest to the
            training music's.

        Returns
        -------
        Sound [shape=(channels, samples)]
            Within [-1, 1].

        Raises
        ------
        ConfigError
            A number is out of its range, or the model cannot be asked for this.
        """
        self._check(seconds)
        if problem := outside({"best_of": best_of}, {"best_of": BEST_OF}):
            raise ConfigError(problem)
        wanted = _Piece(seconds, seed, steps, like, to, tempo, key, meter, surprise, form, ending)
        begun = self._begin(wanted)
        if best_of > 1:
            items = range(item * best_of, (item + 1) * best_of)
            item = best_item(begun.composer, items, seconds, style=begun.style, until=begun.until, form=begun.form)
        return self._joined(self._stream(begun, seconds, item))

    def compose(self, seconds: float = 30.0, *, seed: int = 0, item: int = 0, steps: int | str = "auto") -> Sound:
        """The same as `generate`: its name since the first version."""
        return self.generate(seconds, seed=seed, item=item, steps=steps)

    def stream(
        self,
        seconds: float = math.inf,
        *,
        seed: int = 0,
        item: int = 0,
        steps: int | str = "auto",
        like: str | Path | None = None,
        to: str | Path | None = None,
        tempo: float | None = None,
        key: str | None = None,
        meter: str | None = None,
        surprise: float = 1.0,
        form: str = "returning",
        ending: bool | None = None,
    ) -> Iterator[Sound]:
        """The music of `generate` as it is made, in pieces of a few seconds; without `seconds` it has no end.

        Nobody knows yet how loud it will be: a sample may lie beyond [-1, 1].

        Returns
        -------
        iterator of Sound [shape=(channels, samples)]
        """
        self._check(seconds, may_be_endless=True)
        wanted = _Piece(seconds, seed, steps, like, to, tempo, key, meter, surprise, form, ending)
        return self._stream(self._begin(wanted), seconds, item)

    def _begin(self, wanted: "_Piece") -> "_Begun":
        """What composes a piece, with the styles of its files; raises AudioError and ConfigError."""
        seconds, to = wanted.seconds, wanted.to
        numbers = {"surprise": wanted.surprise} | ({} if wanted.tempo is None else {"tempo": wanted.tempo})
        if problem := outside(numbers, {"tempo": TEMPO, "surprise": SURPRISE}):
            raise ConfigError(problem)
        if to is not None and (wanted.like is None or math.isinf(seconds)):
            raise ConfigError("to goes over from the style of like, by the end of the music: give like, and seconds")
        if to is not None:
            refuse_short_journey(self.generator, seconds)
        if wanted.ending and (to is not None or math.isinf(seconds)):
            raise ConfigError("an ending is of music of a length and of one style: leave out ending, or to")
        try:
            key = None if wanted.key is None else Key.read(wanted.key)
            meter = None if wanted.meter is None else Meter.read(wanted.meter)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        wishes, styles = asked_of_music(wanted.tempo, key, meter, wanted.surprise), self.generator.style
        styles.refuse_unknown(wishes)
        composer = self._composer(wanted.seed, wanted.steps, wishes)
        files = (None if file is None else style_of_file(composer, Path(file)) for file in (wanted.like, to))
        style, until = files
        style = style and styles.wish_for(style, wishes)
        until = until and styles.wish_for(until, wishes, after=style)
        form = _form_of(wanted.form, wanted.ending, seconds)
        if wanted.ending:
            refuse_no_room_to_end(self.generator, seconds)
        return _Begun(composer, style, until, form)

    def _stream(self, begun: "_Begun", seconds: float, item: int) -> Iterator[Sound]:
        composer, style, until, form = begun
        for piece in composer.stream(seconds, item=item, style=style, until=until, form=form):
            yield Sound(piece.float().cpu().numpy(), self.sample_rate)

    def loop(
        self,
        bars: int,
        tempo: float,
        *,
        meter: str = "4/4",
        seed: int = 0,
        item: int = 0,
        steps: int | str = "auto",
        key: str | None = None,
        surprise: float = 1.0,
    ) -> Sound:
        """A loop of so many bars, to the sample: what `musigan generate --loop BARS --tempo TEMPO` writes.

        Parameters
        ----------
        bars : int
        tempo : float
            Quarter notes a minute.
        meter : str
            Of the bars.
        seed, item : int
            The same numbers give the same music.
        steps : int or str
            Sampling steps, or `auto`: what scored best.
        key : str, optional
            Such as `D minor`; by default it is drawn.
        surprise : float
            From 0, calm, to 1, as usual, to 3.

        Returns
        -------
        Sound [shape=(channels, samples)]
            Its first sample comes after its last one.

        Raises
        ------
        ConfigError
            There is no such metre, or the loop would be too short.
        """
        numbers = {"bars": bars, "tempo": tempo, "surprise": surprise}
        if problem := outside(numbers, {"bars": BARS, "tempo": TEMPO, "surprise": SURPRISE}):
            raise ConfigError(problem)
        try:
            form = LoopForm(bars, tempo, Meter.read(meter), self.sample_rate)
            wishes = form.wishes(None if key is None else Key.read(key), surprise)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self.generator.style.refuse_unknown(wishes)
        composer = self._composer(seed, steps, wishes)
        return self._joined([compose_loop(composer, form, item=item)])

    def infill(
        self,
        path: str | Path,
        regions: Sequence[tuple[float, float]] = (),
        *,
        extend_left: float = 0.0,
        extend_right: float = 0.0,
        seed: int = 0,
        item: int = 0,
        steps: int | str = "auto",
    ) -> Sound:
        """A file with new music in it: what `musigan generate --infill` writes; all else stays as it is.

        Parameters
        ----------
        path : str or Path
        regions : sequence of pairs
            From when to when, in seconds.
        extend_left, extend_right : float
            Seconds of new music before the file, and behind it.
        seed, item : int
        steps : int or str

        Returns
        -------
        Sound [shape=(channels, samples)]
            At the file's own rate, with its own channels.

        Raises
        ------
        AudioError
            The file cannot be read, is silent or too short.
        ConfigError
            The regions are not in it, overlap, or leave nothing of it.
        """
        heard, form, wanted = hear_gaps(self.generator, Path(path), regions, (extend_left, extend_right))
        sounds = infilled_sounds(self._composer(seed, steps), heard, form, wanted, item=item)
        return Sound(np.concatenate([piece.numpy() for piece in sounds], axis=1), form.sample_rate)

    def continue_(
        self,
        path: str | Path,
        seconds: float = 30.0,
        *,
        seed: int = 0,
        item: int = 0,
        steps: int | str = "auto",
        form: str = "returning",
        ending: bool | None = None,
    ) -> Sound:
        """What comes after the sound of a file, at its level; the file itself is not part of it.

        Of a continuation the theme is how it begins; see `generate` for `form` and `ending`.

        Returns
        -------
        Sound [shape=(channels, samples)]

        Raises
        ------
        AudioError
            The file cannot be read, is silent or too short.
        """
        self._check(seconds)
        heard, prompt, _ = hear_prompt(self.generator, Path(path))
        planned = _form_of(form, ending, seconds)
        if ending:
            refuse_no_room_to_end(self.generator, seconds)
        sounds = self._composer(seed, steps).stream(seconds, prompt=prompt, form=planned, item=item)
        return self._joined(as_loud_as(heard, sounds, self.sample_rate))

    def vary(self, path: str | Path, amount: float = AMOUNT, *, seed: int = 0, item: int = 0) -> Sound:
        """Another take of a file, as long and as loud as it is: what `musigan generate --vary` writes.

        Parameters
        ----------
        path : str or Path
        amount : float
            From 0, the same, to 1, other music of its style.

        Raises
        ------
        AudioError
            The file cannot be read, is silent or too short.
        """
        if not 0.0 <= amount <= 1.0:
            raise ConfigError(f"amount must be from 0 to 1, got {amount}")
        heard, latents = latents_of_file(self.generator, Path(path))
        return self._joined(varied_sounds(self._composer(seed, "auto"), heard, latents, amount, item=item))

    def encode(self, path: str | Path) -> NDArray[np.float32]:
        """What the model keeps of a sound file: whitened latents, as the attention sees them.

        Returns
        -------
        ndarray of float32 [shape=(frames, latent_dim)]
            `frames_per_second` of them.

        Raises
        ------
        AudioError
            The file cannot be read, is silent or too short.
        """
        return latents_of_file(self.generator, Path(path))[1][0].float().cpu().numpy()

    def decode(self, latents: NDArray[np.float32]) -> Sound:
        """The sound of whitened latents (frames, latent_dim), at the level of prepared music.

        Returns
        -------
        Sound [shape=(channels, samples)]
        """
        given = np.asarray(latents, dtype=np.float32)
        if given.ndim != 2 or given.shape[1] != self.generator.latent_dim or not len(given):
            raise ConfigError(f"latents must have the shape (frames, {self.generator.latent_dim}), got {given.shape}")
        if not np.isfinite(given).all():
            raise ConfigError("latents must be numbers: some are NaN or infinite")
        whitened = torch.from_numpy(given).unsqueeze(0).to(self.generator.device)
        sounds = self._composer(0, "auto").decode_stream(
            iter(whitened.split(DECODED_FRAMES, dim=1)), first_item=0, are_real=True
        )
        return self._joined(sound[0] for sound in sounds)

    def evaluate(
        self,
        real: str | Path,
        *,
        train: str | Path | None = None,
        count: int = 48,
        seconds: float = 10.0,
        seed: int = 0,
        seeds: int = 1,
        steps: int | str = "auto",
        prompts: int = 16,
    ) -> "Evaluation":
        """Hold its music against real music: what `musigan evaluate` measures, in the same numbers.

        Parameters
        ----------
        real : str or Path
            Music that it never learned from: a folder of sound files, or a data set (its validation pairs).
        train : str or Path, optional
            What it learned from, to look for copies.
        count : int
            Samples, and real clips.
        seconds : float
            Of each.
        seed, seeds : int
            So many sets of samples, from this seed on, and their mean.
        steps : int or str
            Sampling steps, or `auto`: what scored best.
        prompts : int
            Real fragments to continue, one a song; 0 for none.

        Returns
        -------
        Evaluation
            `score` with its `interval`; `measures`, `aspects` and `descriptors` by name; `print(found.table)`.

        Raises
        ------
        ConfigError
            Fewer or shorter clips than say anything.
        AudioError, DatasetError
            There is no music in `real`, or too little.
        """
        from piano import evaluate  # and with it Matplotlib, which playing need not wait for
        from piano.evaluation.learned_songs import learned_by_model
        from piano.evaluation.outcome import outcome_of

        if problem := evaluate.too_few(count=count, seconds=seconds, searches=train is not None):
            raise ConfigError(problem)
        if seeds < 1 or prompts < 0:
            raise ConfigError(f"seeds must be 1 or more and prompts 0 or more, got {seeds} and {prompts}")
        notes: list[str] = []
        options = argparse.Namespace(
            real=Path(real),
            train=None if train is None else Path(train),
            count=count,
            seconds=seconds,
            seed=seed,
            seeds=seeds,
            prompts=prompts,
            notes=notes,
        )
        learned = learned_by_model(self.folder, self._lessons)
        ruler, score, _ = evaluate.evaluate_generator(options, self._composer(seed, steps), learned)
        return outcome_of(score, ruler, notes)

    @property
    def frames_per_second(self) -> float:
        """Of latents."""
        return self.generator.frames_per_second

    def save(self, path: str | Path, waveform: NDArray[np.float32]) -> None:
        """Write a waveform (channels, samples) as .wav, .flac, .mp3 or .m4a; a file of that name is replaced."""
        write_audio(Path(path), waveform, getattr(waveform, "sample_rate", 0) or self.sample_rate)

    def _joined(self, sounds: Iterable[Tensor | Sound]) -> Sound:
        """Pieces in one, with one gain if they would clip."""
        pieces = [piece.float().cpu().numpy() if isinstance(piece, Tensor) else np.asarray(piece) for piece in sounds]
        waveform = np.concatenate(pieces, axis=-1)
        peak = float(np.abs(waveform).max(initial=0.0))
        fitting = waveform if peak <= FULL_SCALE else waveform * np.float32(10 ** (CEILING_DB / 20) / peak)
        return Sound(fitting, self.sample_rate)

    def _composer(self, seed: int, steps: int | str, wishes: Wishes | None = None) -> Composer:
        if steps != "auto" and steps not in SAMPLING_STEPS:
            low, high = SAMPLING_STEPS.low, SAMPLING_STEPS.high
            raise ConfigError(f"steps must be a whole number from {low} to {high}, or 'auto', got {steps!r}")
        sampling = Sampling(seed, steps, dtype=self._dtype, wishes=wishes or Wishes())
        return self._template.with_sampling(sampling)

    def _check(self, seconds: float, *, may_be_endless: bool = False) -> None:
        if math.isinf(seconds) and not may_be_endless:
            raise ConfigError("music without end is heard with stream(): give seconds a number")
        if not seconds * self.sample_rate >= 0.5:
            raise ConfigError(f"seconds must be at least one sample of {self.sample_rate} Hz, got {seconds}")
