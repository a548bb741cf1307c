"""Makes a sound again from the receipt in its file, and says whether it is the same."""

import argparse
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import soundfile
import torch

from piano.composer import Composer
from piano.foundation.audio_writer import open_writer
from piano.foundation.doors import fill, program
from piano.foundation.errors import AudioError, CheckpointError, MusiganError, run_command
from piano.foundation.made_files import replacing
from piano.foundation.model_folder import named_folder
from piano.foundation.native_sound import sndfile_name
from piano.foundation.options import add_shared, make_output_folder
from piano.foundation.receipt import (
    Receipt,
    Source,
    file_source,
    find_below,
    is_below,
    model_hash,
    own_versions,
    read_receipt,
)
from piano.foundation.runtime import available_cores, has_device
from piano.foundation.screen_text import CommandParser, printable
from piano.generate_music import Maker, open_maker
from piano.generate_options import FORMATS
from piano.generate_options import parse_arguments as generate_arguments
from piano.loops import LoopForm, Meter
from piano.play.replay import replayed

EXIT_DIFFERS = 1
LENGTH_TOLERANCE = 0.1
"""MP3 pads a file by less than this, in seconds."""
EXAMPLE = """examples:
  {musigan reproduce} music_out/seed0_sample_0000.wav
  {musigan reproduce} their_music.wav --checkpoints their_model --output mine.wav
"""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog=program("reproduce"), description=__doc__, epilog=fill(EXAMPLE))
    parser.add_argument("file", type=Path, help="a sound that generate wrote")
    add_shared(parser, "--checkpoints", help="folder of the model, or shipped (default: the one the receipt names)")
    parser.add_argument(
        "--source",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="the prompt, noise or song it was made from; again for a second (default: looked for here and beside it)",
    )
    parser.add_argument("--output", type=Path, help="keep the new file under this new name (default: not kept)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Exit status 0 if the sound is identical, 1 if it differs, 2 if it cannot be made again."""
    options = parse_arguments(argv)
    statuses: list[int] = []
    refused = run_command(lambda: statuses.append(reproduce(options)))
    return refused or statuses[0]


def reproduce(options: argparse.Namespace) -> int:
    """Make it again, compare, say it; returns the exit status."""
    receipt = read_receipt(options.file)
    if options.output:
        if options.output.is_dir():
            raise AudioError(f"{printable(options.output)} is a folder. Name a file with --output.")
        if os.path.lexists(options.output):
            raise AudioError(
                f"{printable(options.output)} is there already, and nothing is replaced. "
                "Give another name with --output."
            )
        make_output_folder(options.output.parent)
    sources = {option: find_source(source, options) for option, source in receipt.sources.items()}
    difference, reasons = make_again(receipt, options.file, options.checkpoints, sources, keep=options.output)
    print(f"{printable(options.file)}: {difference.sentence()}")
    if reasons:
        print(f"It was made otherwise: {'; '.join(reasons)}.")
    elif not difference.is_identical:
        print("Nothing that its receipt names was otherwise: another processor may round otherwise.")
    return 0 if difference.is_identical else EXIT_DIFFERS


class Again(NamedTuple):
    """A sound that was made once more."""

    difference: "Difference"
    reasons: list[str]
    """What was otherwise than when it was first made; empty if the sounds are identical."""


def make_again(
    receipt: Receipt,
    file: Path,
    checkpoints: Path | None,
    sources: Mapping[str, Path] | None = None,
    *,
    keep: Path | None = None,
) -> Again:
    """Make a sound again and hold it against its file.

    Parameters
    ----------
    receipt : Receipt
        Of the file.
    file : Path
    checkpoints : Path, optional
        Folder of the model; None: the one that the receipt names.
    sources : mapping of str to Path, optional
        What it was made from, by the option that names each.
    keep : Path, optional
        Where the new file is kept.

    Raises
    ------
    AudioError, CheckpointError
        The file was cut or forged, or the model is another one.
    """
    written = read_sound(file)
    refuse_nonsense(receipt, file)
    maker = open_matching(receipt, file, checkpoints, sources or {})
    with tempfile.TemporaryDirectory() as folder:
        made = file_again(maker, receipt, Path(folder), samples=len(written))
        difference = compare(written, read_sound(made))
        if not difference.is_identical and maker.composer.kernels is not None:
            # A receipt does not say whether the compiled loops made the sound, whose last bits are others.
            plain = maker._replace(composer=Composer(maker.generator, maker.composer.sampling))
            other = file_again(plain, receipt, Path(tempfile.mkdtemp(dir=folder)), samples=len(written))
            found = compare(written, read_sound(other))
            if found.samples == found.other_samples and found.ratio_db > difference.ratio_db:
                made, difference = other, found
        if keep:
            with replacing(keep) as temporary:
                shutil.copyfile(made, temporary)
    return Again(difference, [] if difference.is_identical else other_conditions(receipt, maker))


def file_again(maker: Maker, receipt: Receipt, folder: Path, *, samples: int) -> Path:
    """The file of the sound once more."""
    if receipt.radio is None:
        (paths,) = maker.make(folder, items=[receipt.item])
        return next(path for path in paths if path.stem.endswith(f".{receipt.kind}") or len(paths) == 1)
    path, generator = folder / f"radio.{maker.options.format}", maker.generator
    with open_writer(path, generator.sample_rate, generator.sound_channels) as writer:
        for piece in replayed(maker.composer, receipt.radio, samples):
            writer.write(piece.float().cpu().numpy())
    return path


def refuse_nonsense(receipt: Receipt, path: Path) -> None:
    """A receipt that asks for more than its file holds was not written by generate_music; raises AudioError."""
    file = soundfile.info(sndfile_name(path))
    is_shorter = receipt.kind == "full"  # it holds the prompt too
    excess = receipt.seconds - file.duration
    is_forged = sum(receipt.extended or ()) > receipt.seconds
    if receipt.bars is not None:  # whatever kind it claims to be: so many bars would be composed
        is_forged = is_forged or not _lasts_its_bars(receipt, file.samplerate)
    if is_forged or excess > LENGTH_TOLERANCE or (not is_shorter and -excess > LENGTH_TOLERANCE):
        raise AudioError(
            f"{printable(path)} holds {file.duration:.2f} s, which is not what its receipt says "
            f"({receipt.seconds:.2f} s in {receipt.steps} steps): the file was cut, joined or forged."
        )


def _lasts_its_bars(receipt: Receipt, sample_rate: int) -> bool:
    """Whether a loop is as long as its bars at its tempo."""
    try:
        meter = Meter.read(receipt.meter or "")
    except ValueError:
        return False
    if receipt.bars is None or receipt.tempo is None:
        return False
    form = LoopForm(receipt.bars, receipt.tempo, meter, sample_rate)
    return abs(form.samples / sample_rate - receipt.seconds) <= LENGTH_TOLERANCE


def find_source(source: Source, options: argparse.Namespace) -> Path:
    """A file that the sound was made from, of the right content; raises AudioError.

    A receipt is a stranger's word: what it names is looked for here and beside the sound, and in the folders inside
    these; and, by its bare name, in the folder above the sound, for `music_out` is where sounds lie.
    """
    name = source.name
    if options.source:
        given = [path for path in options.source if path.is_file()]
        places = [path for path in given if file_source(path).sha256 == source.sha256] or given[:1]
    else:
        folders = (Path(), options.file.parent, options.file.parent)
        names = (name, name, PurePosixPath(name).name)
        found = (find_below(each, folder) for each, folder in zip(names, folders, strict=True))
        places = [path for path in found if path is not None]
        above = options.file.resolve().parent.parent / PurePosixPath(name).name
        if not places and above.is_file() and file_source(above).sha256 == source.sha256:
            places = [above]
    for path in places:
        if file_source(path).sha256 == source.sha256:
            return path
        raise AudioError(
            f"{printable(path)} is not the file it was made from ({printable(name)}): its SHA-256 is another."
        )
    raise AudioError(f"it was made from {printable(name)}, which is not here. Name it with --source.")


def open_matching(receipt: Receipt, file: Path, given: Path | None, sources: Mapping[str, Path]) -> Maker:
    """The model that made the sound, set up as it was; raises CheckpointError if there is only another."""
    if given is None and not is_below(receipt.folder):
        raise CheckpointError(
            f"the receipt of {printable(file)} names a model in another place than here "
            f"({printable(receipt.folder)[:80]}): name the folder of the model that made it with --checkpoints."
        )
    folder = named_folder(given or receipt.folder)
    named = [word for option, path in sources.items() for word in (option, str(path))]
    command = [*receipt.command, "--format", file_format(file), *named]
    options = generate_arguments(command)
    options.threads = min(receipt.threads, available_cores())
    options.drawing = receipt.drawing or 1
    options.device = receipt.device if has_device(receipt.device) else "cpu"
    try:
        maker = open_maker(folder, options)
    except MusiganError as error:
        hint = "" if given else " Name the folder of the model that made it with --checkpoints."
        raise CheckpointError(f"{printable(error)}{hint}") from None
    torch.set_num_threads(options.threads)  # those that computed, which are not all where composing overlaps
    found = model_hash(maker.content.get("average") or maker.content["model"], maker.content["keywords"])
    if found != receipt.model:
        raise CheckpointError(
            f"epoch {receipt.epoch} of {printable(folder)} is another model ({found[:12]}...) than the one that made "
            f"{printable(file)} ({receipt.model[:12]}...). Name its folder with --checkpoints."
        )
    return maker.computing_in(getattr(torch, receipt.dtype))  # every machine can, whatever it would choose


def file_format(path: Path) -> str:
    """wav, flac or mp3, by the file's content."""
    kind = soundfile.info(sndfile_name(path)).format.lower()
    return {"mpeg": "mp3"}.get(kind, kind if kind in FORMATS else "wav")


class Difference(NamedTuple):
    """How far a sound is from another."""

    samples: int
    other_samples: int
    largest: float
    """Of the absolute differences; full scale is 1."""
    ratio_db: float
    """Energy of the first over that of the difference."""

    @property
    def is_identical(self) -> bool:
        """Every sample of both."""
        return self.samples == self.other_samples and self.largest == 0.0

    def sentence(self) -> str:
        """What a person wants to know of it."""
        if self.is_identical:
            return f"identical, all {self.samples} samples."
        lengths = "" if self.samples == self.other_samples else f" {self.samples} samples, now {self.other_samples};"
        size = f"at most {self.largest:.2g} of full scale, signal to difference {self.ratio_db:.1f} dB"
        return f"differs:{lengths} {size}."


def compare(first: np.ndarray, second: np.ndarray) -> Difference:
    """Hold a sound against another over the length they share.

    Parameters
    ----------
    first, second : np.ndarray [shape=(samples, channels)]
    """
    if first.shape[1] != second.shape[1]:
        return Difference(len(first), len(second), 1.0, -math.inf)
    shared = min(len(first), len(second))
    apart = first[:shared].astype(np.float64) - second[:shared]
    signal, noise = float(np.square(first[:shared], dtype=np.float64).sum()), float(np.square(apart).sum())
    ratio = math.inf if noise == 0 else 10 * math.log10(max(signal, 1e-30) / noise)
    return Difference(len(first), len(second), float(np.abs(apart).max(initial=0.0)), ratio)


def read_sound(path: Path) -> np.ndarray:
    """Samples (samples, channels) of a file as they are; raises AudioError."""
    try:
        return soundfile.read(sndfile_name(path), dtype="float32", always_2d=True)[0]
    except (soundfile.LibsndfileError, ValueError, MemoryError) as error:
        raise AudioError(f"{printable(path)} cannot be read: {printable(error)[:120]}") from None


def other_conditions(receipt: Receipt, maker: Maker) -> list[str]:
    """What was different when the sound was first made."""
    here = {
        "device": maker.generator.device.type,
        "threads": torch.get_num_threads(),
        "dtype": str(maker.composer.sampling.dtype).removeprefix("torch."),
        **own_versions(),
    }
    then = {"device": receipt.device, "threads": receipt.threads, "dtype": receipt.dtype, **receipt.versions}
    return [
        f"{name} {printable(then[name])[:40]}, here {value}"
        for name, value in here.items()
        if name in then and then[name] != value
    ]


if __name__ == "__main__":
    raise SystemExit(main())
