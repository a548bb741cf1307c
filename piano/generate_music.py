"""New music from a checkpoint and a seed, like a song or not, or a loop of it; a fragment continued, a take varied, a
song copied or completed."""

import argparse
import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from piano.best_of import best_item
from piano.composer import Composer, Sampling
from piano.config_reader import load_config_from_yaml
from piano.doctor.verdict import run_verdict
from piano.file_gaps import Form, Wanted, form_of
from piano.foundation import compiled
from piano.foundation.audio_io import MP3_RATES, read_audio
from piano.foundation.audio_writer import exact_subtype
from piano.foundation.doors import command
from piano.foundation.errors import AudioError, ConfigError, MusiganError, run_command
from piano.foundation.m4a import require_encoder
from piano.foundation.made_files import clear_leftovers
from piano.foundation.model_folder import SHIPPED, named_folder, project_name, shipped_folder
from piano.foundation.options import make_output_folder
from piano.foundation.prompts import Heard, hear, without_fade_out, without_last_pause
from piano.foundation.receipt import Kind, Receipt, discreet_name, file_source, model_hash, own_versions
from piano.foundation.run_log import LOG_NAME, read_history
from piano.foundation.runtime import available_cores, choose_device, fastest_threads, sampling_dtype
from piano.foundation.screen_text import printable, wrapped
from piano.foundation.sound_pipe import require_a_pipe, write_stream
from piano.foundation.sound_progress import Progress, say
from piano.generate_options import COUNT, MAX_THREADS, PIPE, parse_arguments, song_form
from piano.infill_files import Piece, completed, new_pieces
from piano.latent_style import DRAWING, SHORTEST_SECONDS, Style, Wishes
from piano.loops import LoopForm, asked_of_music, least_samples, loop_pieces
from piano.made_sounds import Shelf, Target, name_part, sample_name
from piano.piano_model import VariationalAttentionModel
from piano.song_form import refuse_no_room_to_end
from piano.utilities import build_generator, choose_folder, load_checkpoint, not_composing_yet

PROMPT_SECONDS = 120.0
DECODED_FRAMES = 128
"""Of latents that are decoded at once: memory is that of so many, however long a file is."""
LEAST_FRAMES = 8
"""Of latents, in a file that is continued, varied or taken as a model of style."""
LOUDNESS_DBFS, PEAK_DBFS = -18.0, -1.0
OFFSET_FADE_SECONDS = 1.0


def main(argv: list[str] | None = None) -> int:
    """Load a generator and write its music."""
    options = parse_arguments(argv)
    return run_command(lambda: generate(options), is_work=True)


def generate(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    refuse_missing_files(options)
    folders = default_folders(options)
    if options.output == PIPE:
        require_a_pipe()
        maker = open_maker(folders[0], options)
        announce(folders[0], maker.content, options)
        say_what_is_missing(maker)
        form = {"sample_rate": maker.generator.sample_rate, "channels": maker.generator.sound_channels}
        write_stream(maker.sound(), **form, seconds=options.seconds)
        return
    if options.format == "m4a":
        require_encoder(folders[1] / "*.m4a")
    if folders[1].exists():
        make_output_folder(folders[1])  # says now what is wrong with it
    maker = open_maker(folders[0], options)
    make_output_folder(folders[1])
    clear_leftovers(folders[1])
    announce(folders[0], maker.content, options)
    say_what_is_missing(maker)
    seeds = options.seeds or [options.seed]
    maker = maker.having_heard() if len(seeds) > 1 else maker
    for place, seed in enumerate(seeds):
        part = maker.with_seed(seed)._replace(before=place * options.count, total=len(seeds) * options.count)
        for paths in part.make(folders[1], items=range(options.count)):
            for path in paths:
                tqdm.write(printable(path))
                sys.stdout.flush()


def announce(folder: Path, content: dict[str, Any], options: argparse.Namespace) -> None:
    """Whose music this will be, and that it cannot be music yet."""
    introduce(folder, content["epoch"])
    if options.reconstruct is None and (sentence := not_composing_yet(content)):
        print(wrapped(f"{sentence[0].upper()}{sentence[1:]}."), file=sys.stderr, flush=True)


def say_what_is_missing(maker: "Maker") -> None:
    """Of what was asked for, in the training music."""
    for sentence in maker.what_is_missing():
        say(sentence)


def refuse_missing_files(options: argparse.Namespace) -> None:
    """Before anything is loaded; raises AudioError."""
    given = (options.prompt, options.noise, options.like, options.to, options.vary, options.infill)
    for path in (*given, *(options.reconstruct or ())):
        if path is not None and path.is_dir():
            raise AudioError(f"{printable(path)} is a folder. Name a sound file.")
        if path is not None and not path.exists():
            raise AudioError(f"there is no file {printable(path)}.")


def open_maker(folder: Path, options: argparse.Namespace) -> "Maker":
    """Load the model of a folder and set up device and threads for it; raises CheckpointError."""
    device = choose_device(options.device)
    if device == "cpu":  # in a thread, while the model is read
        compiled.prepare()
    content = load_checkpoint(folder, "generator", options.epoch)
    generator = build_generator(content, device=device)
    sampling = Sampling(
        options.seed,
        options.steps,
        options.phase_iterations,
        sampling_dtype(device),
        Wishes(drawing=options.drawing),
    )
    kernels = compiled.kernels() if device == "cpu" else None
    threads = options.threads or measured_threads(generator, sampling.dtype, kernels)
    overlaps = kernels is not None and (options.threads or most_threads()) > 1
    torch.set_num_threads(max(1, threads // 2) if overlaps else threads)
    return Maker(generator, Composer(generator, sampling, kernels=kernels, overlaps=overlaps), content, folder, options)


def most_threads() -> int:
    """OMP_NUM_THREADS if it is set, else the cores there are."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() else available_cores()


def measured_threads(
    generator: VariationalAttentionModel,
    dtype: torch.dtype,
    kernels: compiled.Kernels | None = None,
    *,
    spared_cores: int = 0,
) -> int:
    """OMP_NUM_THREADS if it is set, else the number of threads with which a sampling step is fastest right now.

    No more are tried than leave `spared_cores` to others.
    """
    if os.environ.get("OMP_NUM_THREADS", "").isdecimal() or generator.device.type != "cpu":
        return torch.get_num_threads()
    composer = Composer(generator, Sampling(steps=1, dtype=dtype), kernels=kernels)
    noise = torch.zeros(1, generator.latent_seq_len, generator.latent_dim)
    condition = generator.condition_on(generator.style.draw(0, range(1)), generator.latent_seq_len)

    def step() -> None:
        with torch.inference_mode():
            composer.integrate(noise, condition=condition)

    return fastest_threads(step, most=max(1, min(available_cores() - spared_cores, MAX_THREADS)))


def default_folders(options: argparse.Namespace) -> tuple[Path, Path]:
    """Where the model comes from and music goes; the config is read only if one of them is not given."""
    if options.checkpoints and options.output:
        return named_folder(options.checkpoints), options.output
    config = load_config_from_yaml(options.config)
    folder = choose_folder(options.checkpoints, config.checkpoint_folder)
    return folder, options.output or config.music_out_folder


def introduce(folder: Path, epoch: int) -> None:
    """Say whose music this will be; on stderr, as stdout names the files."""
    owner = "the shipped model" if folder == shipped_folder() else "the model"
    print(f"Playing {owner} of {printable(folder)}, epoch {epoch}", file=sys.stderr, flush=True)
    if owner == "the model" and (folder / LOG_NAME).is_file():
        with contextlib.suppress(OSError, MusiganError):
            verdict = run_verdict(read_history(folder))
            if verdict.is_ruined:
                other = command("generate", "--checkpoints", SHIPPED)
                told = wrapped(f"This run's own log: {verdict.sentence} To hear music:")
                print(f"{told}\n  {other}", file=sys.stderr)


class Maker(NamedTuple):
    """A loaded model and what is asked of it."""

    generator: VariationalAttentionModel
    composer: Composer
    content: dict[str, Any]
    """Of the generator's checkpoint."""
    folder: Path
    options: argparse.Namespace
    like: Style | None = None
    """That of the file, where it was heard already."""
    last: Style | None = None
    """The one that is gone over to, likewise."""
    before: int = 0
    """Samples of other seeds before the first one."""
    total: int = 0
    """Of all seeds; 0: of this one."""

    def having_heard(self) -> "Maker":
        """The same, with the styles of its files known: other seeds need not hear them again.

        Raises ConfigError for what will not be made.
        """
        self.refuse_early()
        like, last = (
            None if path is None else style_of_file(self.composer, path)
            for path in (self.options.like, self.options.to)
        )
        return self._replace(like=like, last=last)

    def begin(self, progress: Progress, number: int, count: int) -> None:
        """The next sample of `count`, from 1."""
        progress.begin(number, count, before=self.before, total=self.total or count)

    def computing_in(self, dtype: torch.dtype) -> "Maker":
        """The same with the sampler's products in another number format, in which it makes other music."""
        return self._replace(composer=self.composer.with_sampling(self.composer.sampling._replace(dtype=dtype)))

    def with_seed(self, seed: int) -> "Maker":
        """The same with another seed."""
        composer = self.composer.with_sampling(self.composer.sampling._replace(seed=seed))
        options = argparse.Namespace(**vars(self.options) | {"seed": seed})
        return self._replace(composer=composer, options=options)

    @property
    def shelf(self) -> Shelf:
        """What its files have in common."""
        generator, options = self.generator, self.options
        return Shelf(generator.sample_rate, generator.sound_channels, options.format, options.overwrite)

    def make(self, output: Path, *, items: Iterable[int]) -> Iterator[list[Path]]:
        """Write the samples of these numbers (or every reconstruction); yields the files of each."""
        options = self.options
        self.refuse_early()
        if options.infill:
            say_what_is_ignored(options, "an infill, which is as long as its file", "seconds")
            yield from infill_file(self, output, list(items))
        elif options.reconstruct:
            what = "a reconstruction, which is its file once more"
            say_what_is_ignored(options, what, "seconds", "count", "seed", "steps")
            yield from reconstruct_files(self, output)
        elif options.vary:
            say_what_is_ignored(
                options, "a variation, which is as long as its file and follows the flow", "seconds", "steps"
            )
            yield from vary_file(self, output, list(items))
        elif options.prompt:
            yield from continue_prompt(self, output, list(items))
        elif options.loop:
            say_what_is_ignored(options, "a loop, which is as long as its bars", "seconds")
            yield from compose_loops(self, output, list(items))
        else:
            yield from compose_samples(self, output, list(items))

    def refuse_early(self) -> None:
        """Raises AudioError and ConfigError for what can be told before any file is heard."""
        options, rate = self.options, self.generator.sample_rate
        if options.format == "mp3" and rate not in MP3_RATES and not options.infill:
            raise AudioError(f"MP3 has no {rate} Hz, the rate of this model. Choose --format wav or flac.")
        if not (options.infill or options.reconstruct or options.vary or options.loop):
            self.refuse_no_length()
        if options.to:
            refuse_short_journey(self.generator, options.seconds)
        if options.ending and options.drawing == DRAWING:  # before, such pieces were made without an end
            refuse_no_room_to_end(self.generator, options.seconds)

    def refuse_no_length(self) -> None:
        """Raises ConfigError for a length that holds no sample."""
        seconds, rate = self.options.seconds, self.generator.sample_rate
        if seconds * rate <= 0.5:
            raise ConfigError(f"--seconds {seconds:g} is shorter than one sample of {rate} Hz ({1 / rate:.2g} s).")

    def sound(self) -> Iterator[Tensor]:
        """The one sound that a pipe gets, in pieces (channels, samples)."""
        options, generator = self.options, self.generator
        self.refuse_early()
        if options.prompt:
            heard, prompt, notes = hear_prompt(generator, options.prompt)
            for note in notes:
                say(f"{printable(options.prompt)}: {note}.")
            sounds = self.composer.stream(options.seconds, prompt=prompt, form=song_form(options))
            return as_loud_as(heard, sounds, generator.sample_rate)
        if options.noise and math.isinf(options.seconds):
            raise ConfigError("--noise ends where its file does: give --seconds a number.")
        noise = read_noise(self.composer, options.noise, options.seconds) if options.noise else None
        composer, style = self.wished()
        return composer.stream(
            options.seconds, noise=noise, style=style, until=self.until(style), form=song_form(options)
        )

    def wished(self) -> tuple[Composer, Style | None]:
        """The composer, and the style if it is that of a file, with what was asked for.

        Raises ConfigError where the model cannot be asked for it.
        """
        options, styles = self.options, self.generator.style
        style = self.like or (style_of_file(self.composer, options.like) if options.like else None)
        wishes = self.wishes()
        composer = self.composer.with_sampling(self.composer.sampling._replace(wishes=wishes))
        return composer, None if style is None else styles.wish_for(style, wishes)

    def what_is_missing(self) -> list[str]:
        """Of what was asked for, in the training music; raises ConfigError where the model cannot be asked."""
        wishes, options = self.wishes(), self.options
        said = self.generator.style.what_is_missing(wishes)
        bar = wishes.bar_seconds
        if bar is not None and not options.loop and 2.0 * bar > options.seconds:
            said.append(f"a bar of {options.meter} lasts {bar:.1f} s: in {options.seconds:g} s it hardly comes again.")
        return said

    def wishes(self) -> Wishes:
        """What new music was asked to be like; raises ConfigError where the model cannot be asked."""
        options, rate = self.options, self.generator.sample_rate
        if options.loop:
            form = LoopForm(options.loop, options.tempo, options.meter, rate)
            wishes = form.wishes(options.key, options.surprise, drawing=options.drawing)
        else:
            wishes = asked_of_music(options.tempo, options.key, options.meter, options.surprise, options.drawing)
        self.generator.style.refuse_unknown(wishes)
        return wishes

    def until(self, style: Style | None) -> Style | None:
        """The style that the music goes over to from one."""
        if not self.options.to:
            return None
        last = self.last or style_of_file(self.composer, self.options.to)
        return self.generator.style.wish_for(last, self.wishes(), after=style)

    def receipts(self, *kinds: Kind, source: Path | None, seconds: float) -> Callable[[int], dict[Kind, Receipt]]:
        """What each kind of file of a sample says of itself, for every number of a sample."""
        generator, options = self.generator, self.options
        state = self.content.get("average") or self.content["model"]
        common = {
            "model": model_hash(state, self.content["keywords"]),
            "epoch": self.content["epoch"],
            "folder": project_name(self.folder) or discreet_name(self.folder),
            "seed": options.seed,
            "seconds": seconds,
            "steps": self.composer.steps,
            "phase_iterations": options.phase_iterations,
            "source": source and file_source(source),
            "like": options.like and file_source(options.like),
            "to": options.to and file_source(options.to),
            "amount": options.amount,
            "tempo": options.tempo,
            "key": options.key and options.key.name,
            "surprise": None if options.surprise == 1.0 else options.surprise,
            "bars": options.loop,
            "meter": options.meter and str(options.meter),
            "regions": sorted(zip(options.begins, options.ends, strict=True)) or None,
            "extended": (options.extend_left, options.extend_right) if options.infill else None,
            "device": generator.device.type,
            "dtype": str(self.composer.sampling.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "versions": own_versions(),
        }
        if {"sample", "full", "continuation"} & set(kinds) and not (options.to or options.noise):
            form = song_form(options)
            common |= {"form": options.form, "closes": form.closes}
        if options.tempo or options.meter:
            common["drawing"] = options.drawing
        if options.best_of > 1:
            common["best_of"] = options.best_of
        return lambda item: {kind: Receipt(kind=kind, item=item, **common) for kind in kinds}


def refuse_short_journey(generator: VariationalAttentionModel, seconds: float) -> None:
    """Raises ConfigError for music that has one style because it is composed at once."""
    window = generator.latent_seq_len / generator.frames_per_second
    if seconds <= window:
        raise ConfigError(
            f"{seconds:g} s of music go over to no other style: this model composes {window:.1f} s at once. "
            "Ask for more seconds."
        )


def say_what_is_ignored(options: argparse.Namespace, what: str, *names: str) -> None:
    """A sound that is as long as its file takes no length: settings of compositions are not silently passed over."""
    usual = {"seconds": 30.0, "count": COUNT, "seed": 0, "steps": "auto"}
    if changed := [f"--{name}" for name in names if getattr(options, name) != usual[name]]:
        verb = "has" if len(changed) == 1 else "have"
        say(f"{', '.join(changed)} {verb} no part in {what}.")


def compose_samples(maker: Maker, output: Path, items: list[int]) -> Iterator[list[Path]]:
    """seed0_sample_0000.wav ... from white noise."""
    generator, options = maker.generator, maker.options
    noise = read_noise(maker.composer, options.noise, options.seconds) if options.noise else None
    composer, style = maker.wished()
    until = maker.until(style)
    receipts = maker.receipts("sample", source=options.noise, seconds=options.seconds)
    with Progress("sample", generator.sample_rate) as progress:
        progress.expect(len(items) * round(options.seconds * generator.sample_rate))
        for number, item in enumerate(items, start=1):
            maker.begin(progress, number, len(items))
            if options.best_of > 1:
                among = range(item * options.best_of, (item + 1) * options.best_of)
                item = best_item(composer, among, options.seconds, style=style, until=until, form=song_form(options))
            name = sample_name(options.noise, options.seed, item)
            start = output / f"{asked_part(options)}{name}"
            target = Target(maker.shelf, start, receipts(item))
            sounds = composer.stream(
                options.seconds, noise=noise, style=style, until=until, form=song_form(options), item=item
            )
            yield target.write(sounds, progress)


def asked_part(options: argparse.Namespace) -> str:
    """What a name says of what was asked for."""
    like = f"like_{name_part(options.like)}_" if options.like else ""
    like += f"to_{name_part(options.to)}_" if options.to else ""
    like += f"{options.tempo:g}bpm_" if options.tempo else ""
    like += f"{options.key.short}_" if options.key else ""
    like += f"{options.loop}_bars_" if options.loop else ""
    like += f"{options.meter.beats}-{options.meter.unit}_" if options.meter else ""
    return like + (f"best_of_{options.best_of}_" if options.best_of > 1 else "")


def compose_loops(maker: Maker, output: Path, items: list[int]) -> Iterator[list[Path]]:
    """120bpm_seed0_sample_0000.loop.wav ...: so many bars to the sample, with what samplers read of them."""
    generator, options = maker.generator, maker.options
    form = LoopForm(options.loop, options.tempo, options.meter, generator.sample_rate)
    form.refuse_too_short(least_samples(maker.composer))
    composer, style = maker.wished()
    receipts = maker.receipts("loop", source=None, seconds=form.samples / generator.sample_rate)
    with Progress("loop", generator.sample_rate) as progress:
        progress.expect(len(items) * form.samples)
        for number, item in enumerate(items, start=1):
            maker.begin(progress, number, len(items))
            start = output / f"{asked_part(options)}{sample_name(None, options.seed, item)}"
            target = Target(maker.shelf, start, receipts(item), loop=form.tags())
            yield target.write(loop_pieces(composer, form, style, item=item), progress)


def continue_prompt(maker: Maker, output: Path, items: list[int]) -> Iterator[list[Path]]:
    """NAME_seed0_sample_0000.continuation.wav, and .full.wav, which begins with the prompt as it is."""
    generator, options = maker.generator, maker.options
    rate = generator.sample_rate
    heard, prompt, notes = hear_prompt(generator, options.prompt)
    for note in notes:
        say(f"{printable(options.prompt)}: {note}.")
    receipts = maker.receipts("full", "continuation", source=options.prompt, seconds=options.seconds)
    with Progress("continuation", rate) as progress:
        progress.expect(len(items) * round(options.seconds * rate))
        for number, item in enumerate(items, start=1):
            maker.begin(progress, number, len(items))
            target = Target(
                maker.shelf, output / sample_name(options.prompt, options.seed, item), receipts(item), heard
            )
            sounds = maker.composer.stream(options.seconds, prompt=prompt, form=song_form(options), item=item)
            yield target.write(as_loud_as(heard, sounds, rate), progress)


def hear_prompt(generator: VariationalAttentionModel, path: Path) -> tuple[Heard, Tensor, list[str]]:
    """A file as this model continues it.

    Returns
    -------
    heard : Heard
    prompt : Tensor [shape=(channels, samples)]
        Its last two minutes that sound, at the level of prepared music.
    notes : list of str
        What is unusual about it.

    Raises
    ------
    AudioError
        It cannot be read, is silent or too short.
    """
    rate = generator.sample_rate
    heard = hear(path, sample_rate=rate, channels=generator.sound_channels, max_seconds=PROMPT_SECONDS)
    ended = without_last_pause(heard, rate)
    sounding = without_fade_out(ended, heard, rate)
    if sounding.shape[-1] < LEAST_FRAMES * generator.hop_samples:
        sounding = ended
    if sounding.shape[-1] < LEAST_FRAMES * generator.hop_samples:
        raise AudioError(
            f"{printable(path)} is too short to continue: {sounding.shape[-1] / rate:.2f} s, "
            f"at least {LEAST_FRAMES * generator.hop_samples / rate:.2f} s are needed"
        )
    notes = list(heard.notes)
    if sounding.shape[-1] < ended.shape[-1]:
        softer = (heard.waveform.shape[-1] - sounding.shape[-1]) / rate
        notes.append(
            f"fades out in its last {softer:.0f} s, so that the music goes on from what comes before, as loud as that"
        )
    elif pause := heard.waveform.shape[-1] - sounding.shape[-1]:
        notes.append(f"silent in its last {pause / rate:.1f} s, so that the music goes on from what comes before")
    if heard.is_nearly_silent:
        notes.append("its continuation has the usual level")
    return heard, torch.from_numpy(heard.prepared(sounding)), notes


def as_loud_as(heard: Heard, sounds: Iterator[Tensor], sample_rate: int) -> Iterator[Tensor]:
    """Continuation at its prompt's level; a constant offset of the prompt fades out: no click at the seam."""
    gain = 1.0 if heard.is_nearly_silent else heard.gain
    offset = torch.from_numpy(heard.levels.offset).float().unsqueeze(1)
    position = 0
    for sound in sounds:
        played = sound / gain
        if bool(offset.any()) and position < OFFSET_FADE_SECONDS * sample_rate:
            time = (position + torch.arange(sound.shape[-1])) / (OFFSET_FADE_SECONDS * sample_rate)
            played = played + (offset * (1.0 - time).clamp_min(0.0)).to(sound.device)
        position += sound.shape[-1]
        yield played


def reconstruct_files(maker: Maker, output: Path) -> Iterator[list[Path]]:
    """Every file that can be heard; raises AudioError at the end for those that cannot."""
    paths, failures = maker.options.reconstruct, []
    with Progress("file", maker.generator.sample_rate) as progress:
        for number, path in enumerate(paths, start=1):
            progress.begin(number, len(paths))
            try:
                made = reconstruct_file(maker, path, output, progress)
            except AudioError as error:
                failures.append(error)
            else:
                yield made
    if failures:
        raise AudioError("\n".join(map(str, failures)))


def reconstruct_file(maker: Maker, path: Path, output: Path, progress: Progress) -> list[Path]:
    """NAME.reconstruction.wav: the file through encoder and decoder, in pieces."""
    generator = maker.generator
    rate = generator.sample_rate
    heard = hear(path, sample_rate=rate, channels=generator.sound_channels)
    for note in heard.notes:
        say(f"{printable(path)}: {note}.")
    progress.expect(heard.samples)
    receipts = maker.receipts("reconstruction", source=path, seconds=heard.samples / rate)
    target = Target(maker.shelf, output / name_part(path), receipts(0))
    offset = torch.from_numpy(heard.levels.offset).float().unsqueeze(1).to(generator.device)
    with torch.inference_mode():
        prepared = (torch.from_numpy(heard.prepared(block)) for block in heard.blocks(rate))
        sounds = maker.composer.decode_stream(encode_pieces(generator, prepared), first_item=0, are_real=True)
        return target.write(trim((sound[0] / heard.gain + offset for sound in sounds), heard.samples), progress)


@torch.inference_mode()
def latents_of_file(generator: VariationalAttentionModel, path: Path) -> tuple[Heard, Tensor]:
    """A file as it was heard, and its whitened latents (1, frames, latent_dim).

    Raises
    ------
    AudioError
        It cannot be read, is silent, or holds no whole latent frame.
    """
    heard = hear(path, sample_rate=generator.sample_rate, channels=generator.sound_channels)
    for note in heard.notes:
        say(f"{printable(path)}: {note}.")
    blocks = (torch.from_numpy(heard.prepared(block)) for block in heard.blocks(generator.sample_rate))
    pieces = list(encode_pieces(generator, blocks))
    if not pieces or sum(piece.shape[1] for piece in pieces) < LEAST_FRAMES:
        raise AudioError(
            f"{printable(path)} is too short: {heard.samples / generator.sample_rate:.2f} s, at least "
            f"{LEAST_FRAMES * generator.hop_samples / generator.sample_rate:.2f} s are needed."
        )
    return heard, torch.cat(pieces, dim=1)


def style_of_file(composer: Composer, path: Path) -> Style:
    """The style of a song; raises AudioError, also where it is too short to have one."""
    heard, latents = latents_of_file(composer.generator, path)
    if heard.samples < SHORTEST_SECONDS * composer.generator.sample_rate:
        raise AudioError(
            f"{printable(path)} is too short to have a style: {heard.samples / composer.generator.sample_rate:.2f} s, "
            f"at least {SHORTEST_SECONDS:g} s are needed."
        )
    return composer.style_of(latents)


def vary_file(maker: Maker, output: Path, items: list[int]) -> Iterator[list[Path]]:
    """NAME_seed0_sample_0000.variation.wav ...: the file encoded, varied and decoded, at its own level."""
    generator, options = maker.generator, maker.options
    heard, latents = latents_of_file(generator, options.vary)
    rate = generator.sample_rate
    receipts = maker.receipts("variation", source=options.vary, seconds=heard.samples / rate)
    with Progress("variation", rate) as progress:
        progress.expect(len(items) * heard.samples)
        for number, item in enumerate(items, start=1):
            maker.begin(progress, number, len(items))
            target = Target(maker.shelf, output / sample_name(options.vary, options.seed, item), receipts(item))
            sounds = varied_sounds(maker.composer, heard, latents, options.amount, item=item)
            yield target.write(sounds, progress)


@torch.inference_mode()
def varied_sounds(
    composer: Composer, heard: Heard, latents: Tensor, amount: float, *, item: int = 0
) -> Iterator[Tensor]:
    """Another take of a file in waveform pieces (channels, samples), as long and as loud as it is.

    Parameters
    ----------
    heard, latents
        From `latents_of_file`.
    amount : float
        From 0, the same, to 1, other music of its style.
    """
    varied = composer.vary_windows(latents, amount, item=item)
    offset = torch.from_numpy(heard.levels.offset).float().unsqueeze(1).to(latents.device)
    sounds = composer.decode_stream(varied, first_item=item, are_real=True)
    yield from trim((sound[0] / heard.gain + offset for sound in sounds), heard.samples)


def infill_file(maker: Maker, output: Path, items: list[int]) -> Iterator[list[Path]]:
    """NAME_seed0_sample_0000.infill.wav ...: the file as it is but for its regions, in its own rate and channels."""
    options, path = maker.options, maker.options.infill
    regions, extended = zip(options.begins, options.ends, strict=True), (options.extend_left, options.extend_right)
    heard, form, wanted = hear_gaps(maker.generator, path, regions, extended)
    if options.format == "mp3" and form.sample_rate not in MP3_RATES:
        raise AudioError(
            f"MP3 has no {form.sample_rate} Hz, the rate of {printable(path)}. Choose --format wav or flac."
        )
    subtype, note = exact_subtype(path, options.format)
    if note:
        say(f"{printable(path)}: {note}.")
    if heard.over and subtype != "FLOAT":
        say(f"{printable(path)}: beyond full scale, what is beyond is clipped.")
    samples = form.samples + sum(round(side * form.sample_rate) for side in extended)
    receipts = maker.receipts("infill", source=path, seconds=samples / form.sample_rate)
    shelf = maker.shelf._replace(sample_rate=form.sample_rate, channels=form.channels)
    with Progress("infill", form.sample_rate) as progress:
        progress.expect(len(items) * samples)
        for number, item in enumerate(items, start=1):
            maker.begin(progress, number, len(items))
            name = sample_name(path, options.seed, item)
            target = Target(shelf, output / name, receipts(item), is_as_it_is=True, subtype=subtype)
            yield target.write(infilled_sounds(maker.composer, heard, form, wanted, item=item), progress)


def hear_gaps(
    generator: VariationalAttentionModel,
    path: Path,
    regions: Iterable[tuple[float, float]],
    extended: tuple[float, float],
) -> tuple[Heard, Form, Wanted]:
    """A file as this model completes it; raises AudioError and ConfigError."""
    heard = hear(path, sample_rate=generator.sample_rate, channels=generator.sound_channels)
    for note in heard.notes:
        say(f"{printable(path)}: {note}.")
    form, wanted = form_of(path), Wanted(tuple(regions), *extended)
    wanted.refuse_nonsense(path, form)
    return heard, form, wanted


def infilled_sounds(composer: Composer, heard: Heard, form: Form, wanted: Wanted, *, item: int = 0) -> Iterator[Tensor]:
    """A file with new music in its gaps, in pieces (channels, samples) of its own rate."""

    def tell(piece: Piece) -> None:
        if piece.gain < 1.0:
            begin, end = (sample / form.sample_rate for sample in piece.gap)
            say(
                f"{printable(heard.path)}: the new music from {begin:.2f} to {end:.2f} s is made "
                f"{-20 * math.log10(piece.gain):.1f} dB softer, or it would be beyond full scale."
            )

    pieces = new_pieces(composer, heard, form, wanted, item=item)
    for block in completed(form, heard.path, pieces, tell):
        yield torch.from_numpy(np.ascontiguousarray(block))


def levelling_gain(waveform: Tensor) -> float:
    """What brings a waveform (channels, samples) to the level of prepared music; divide by it afterwards."""
    rms = float(waveform.square().mean().sqrt())
    return min(
        10 ** (LOUDNESS_DBFS / 20) / max(rms, 1e-6), 10 ** (PEAK_DBFS / 20) / max(float(waveform.abs().max()), 1e-6)
    )


def encode_pieces(
    generator: VariationalAttentionModel, blocks: Iterable[Tensor], *, frames: int = DECODED_FRAMES
) -> Iterator[Tensor]:
    """Latents (1, frames, latent_dim) of blocks of a long waveform (channels, samples), with context on both sides."""
    margin, hop = generator.autoencoder.encoder.context, generator.hop_samples
    source, is_over = iter(blocks), False
    buffer = torch.zeros(generator.sound_channels, 0)
    first = begin = 0  # frame where the buffer begins, and the next one to encode
    while True:
        wanted = (begin + frames + margin - first) * hop
        while not is_over and buffer.shape[-1] < wanted:
            block = next(source, None)
            is_over = block is None
            buffer = buffer if block is None else torch.cat([buffer, block], dim=-1)
        end = min(begin + frames, first + -(-buffer.shape[-1] // hop))
        if end <= begin:
            return
        piece = buffer[:, : (end + margin - first) * hop].unsqueeze(0).to(generator.device)
        yield generator.encode(piece)[:, begin - first : end - first]
        begin, kept_from = end, max(end - margin, 0)
        buffer, first = buffer[:, (kept_from - first) * hop :], kept_from


def trim(sounds: Iterator[Tensor], samples: int) -> Iterator[Tensor]:
    """The first `samples` samples of waveform pieces."""
    for sound in sounds:
        yield sound[..., :samples]
        samples -= sound.shape[-1]
        if samples <= 0:
            return


def read_noise(composer: Composer, path: Path, seconds: float) -> Tensor:
    """Latent noise of a noise file; raises AudioError when it is too short or silent."""
    generator = composer.generator
    hop = generator.hop_samples
    needed = hop * composer.whole_windows(-(-round(seconds * generator.sample_rate) // hop))
    waveform = read_audio(
        path, sample_rate=generator.sample_rate, channels=1, max_seconds=needed / generator.sample_rate
    )[0]
    if len(waveform) < seconds * generator.sample_rate:
        raise AudioError(
            f"{printable(path)} holds {len(waveform) / generator.sample_rate:.1f} s of noise, "
            f"{seconds:g} s of music need as much. "
            f"Give a longer file or a smaller --seconds."
        )
    if not np.std(waveform) > 0.0:
        raise AudioError(f"{printable(path)} is silent: white noise is needed. Leave out --noise, or name another.")
    return composer.noise_from_waveform(torch.from_numpy(np.pad(waveform, (0, -len(waveform) % hop))))


if __name__ == "__main__":
    raise SystemExit(main())
