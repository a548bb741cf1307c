"""What `musigan generate` can be asked for: its command line, and what of it goes together."""

import argparse
import math
from pathlib import Path

from piano.foundation import options as kinds
from piano.foundation.doors import fill, program
from piano.foundation.keys import Key
from piano.foundation.screen_text import CommandParser, printable
from piano.latent_style import DRAWING
from piano.loops import Meter
from piano.song_form import FORMS, LEAST_CLOSED_SECONDS, SongForm

DESCRIPTION = (
    "New music from a checkpoint and a seed, like a song or not, or a loop of it; a fragment continued, a take varied, "
    "a song copied or completed."
)
FORMATS = ("wav", "flac", "mp3", "m4a")
EXACT_FORMATS = ("wav", "flac")
"""That hold every sample as it is, and no more of them."""
COUNT = 8
PIPE = Path("-")
AMOUNT = 0.3
"""Of a variation, unless asked otherwise."""
MAX_THREADS = 4
COMMON_TIME = Meter(4, 4)
EXAMPLE = """examples:
  {musigan generate} --seconds 30 --count 4
  {musigan generate} --prompt my_fragment.mp3 --seconds 20
  {musigan generate} --like my_song.mp3 --count 4
  {musigan generate} --like my_song.mp3 --to another.mp3 --seconds 60
  {musigan generate} --vary my_take.wav --amount 0.3 --count 3
  {musigan generate} --reconstruct song.mp3
  {musigan generate} --infill my_take.wav --from 8 --to 14
  {musigan generate} --loop 4 --tempo 120
  {musigan generate} --tempo 96 --key "D minor" --seconds 90 --best-of 4
  {musigan generate} --seconds inf --output - | ffplay -
"""


def meter(text: str) -> Meter:
    """For argparse: a metre such as 3/4."""
    try:
        return Meter.read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(printable(error)) from None


def key(text: str) -> Key:
    """For argparse: a key such as `D minor` or `Dm`."""
    try:
        return Key.read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(printable(error)) from None


def seeds(text: str) -> list[int]:
    """For argparse: seeds with commas between them; one that is named twice counts once."""
    return list(dict.fromkeys(kinds.any_seed(part.strip()) for part in text.split(",")))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(
        prog=program("generate"), file_option="--prompt", description=DESCRIPTION, epilog=fill(EXAMPLE)
    )
    kinds.add_shared(parser, "--config")
    kinds.add_shared(
        parser,
        "--checkpoints",
        help="folder of a model, or shipped (default: the config's checkpoint_folder; shipped if that holds none)",
    )
    kinds.add_shared(parser, "--epoch")
    kinds.add_shared(
        parser,
        "--seconds",
        type=kinds.seconds_or_endless,
        default=30.0,
        help="length of each sample; inf with --output -: until the reader goes (default: %(default)g)",
    )
    kinds.add_shared(parser, "--count", default=None, help=f"how many samples (default: {COUNT}, with --output - one)")
    kinds.add_shared(parser, "--seed", type=kinds.any_seed, help="the same seed gives the same music (default: 0)")
    parser.add_argument(
        "--seeds",
        type=seeds,
        metavar="SEED,SEED,...",
        help="one sample of each of these, in place of --seed (default: none)",
    )
    kinds.add_shared(parser, "--steps", "--phase-iterations")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder, or - to write one sound to a pipe as it is made (default: the config's music_out_folder)",
    )
    parser.add_argument(
        "--format", choices=FORMATS, default="wav", help="of the files written; m4a needs ffmpeg (default: wav)"
    )
    add_sources(parser)
    add_wishes(parser)
    parser.set_defaults(drawing=DRAWING)  # another one: of a sound that was made before
    kinds.add_shared(parser, "--device")
    kinds.add_shared(
        parser,
        "--threads",
        help=f"CPU threads (default: OMP_NUM_THREADS, else the fastest up to {MAX_THREADS}, measured)",
    )
    kinds.add_shared(
        parser,
        "--overwrite",
        help="make again what this command made before, in its place; files of others stay (default: nothing is "
        "replaced)",
    )
    options = parser.parse_args(argv)
    given = [f"--{name}" for name in ("prompt", "reconstruct", "vary", "infill", "noise") if getattr(options, name)]
    if len(given) > 1:
        parser.error(f"{' and '.join(given)} cannot be combined: the music comes from one of them")
    if options.like and (others := [name for name in given if name != "--noise"]):
        parser.error(f"--like and {others[0]} cannot be combined: the style is that of the file")
    if options.seeds and options.reconstruct:
        parser.error("--seeds and --reconstruct cannot be combined: a reconstruction has no seed")
    if options.seeds and options.seed != 0:
        parser.error("--seed and --seeds cannot be combined: name all of them in --seeds")
    refuse_wrong_loops(parser, options, given)
    refuse_wrong_wishes(parser, options, given)
    if options.amount is not None and not options.vary:
        parser.error("--amount is of --vary: name the sound to vary")
    if options.vary and options.amount is None:
        options.amount = AMOUNT
    take_apart_ends(parser, options)
    refuse_wrong_regions(parser, options)
    refuse_on_a_pipe(parser, options)
    ending = options.output.suffix.lower() if options.output and not options.output.is_dir() else ""
    if ending[1:] in FORMATS:
        parser.error(f"--output {options.output} is a folder for samples that get names; {ending} is --format's to say")
    if options.count is None:
        options.count = 1 if options.output == PIPE or options.seeds else COUNT
    return options


def add_sources(parser: argparse.ArgumentParser) -> None:
    """The files that music can be made from, and what is asked of each."""
    parser.add_argument("--prompt", type=Path, help="a fragment to continue, of any format and rate (default: none)")
    parser.add_argument(
        "--reconstruct",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="write what the autoencoder makes of these (default: none)",
    )
    parser.add_argument(
        "--vary", type=Path, metavar="FILE", help="other takes of a sound, near to it, as long as it is (default: none)"
    )
    parser.add_argument(
        "--amount",
        type=kinds.share,
        help=f"of --vary: 0 is the sound itself, 1 other music of its style (default: {AMOUNT:g})",
    )
    parser.add_argument("--noise", type=Path, help="a file of noise that is the seed (default: none)")
    parser.add_argument(
        "--like", type=Path, metavar="FILE", help="new music in the style of this, not with its notes (default: none)"
    )
    parser.add_argument(
        "--infill",
        type=Path,
        metavar="FILE",
        help="this file with new music in it, before it or behind it; all else stays as it is (default: none)",
    )
    parser.add_argument(
        "--from",
        dest="begins",
        type=kinds.moment,
        action="append",
        default=[],
        metavar="SECONDS",
        help="of --infill: where a region of new music begins; again, with --to, for another (default: none)",
    )
    parser.add_argument(
        "--to",
        dest="ends",
        action="append",
        default=[],
        metavar="SECONDS|FILE",
        help="of --infill: where it ends; of --like: the file whose style the music goes over to (default: none)",
    )
    for side, place in (("left", "before"), ("right", "behind")):
        parser.add_argument(
            f"--extend-{side}",
            type=kinds.moment,
            default=0.0,
            metavar="SECONDS",
            help=f"of --infill: so much new music {place} the file (default: %(default)g)",
        )


def add_wishes(parser: argparse.ArgumentParser) -> None:
    """How new music shall be."""
    parser.add_argument(
        "--tempo",
        type=kinds.tempo,
        metavar="BPM",
        help="quarter notes a minute, of new music (default: drawn from what the training music has)",
    )
    parser.add_argument(
        "--loop",
        type=kinds.bars,
        metavar="BARS",
        help="a loop of so many bars at --tempo: its end leads into its beginning (default: none)",
    )
    parser.add_argument(
        "--meter",
        type=meter,
        metavar="N/M",
        help="of the bars, after each of which music comes again (default: of --loop 4/4, else not asked for)",
    )
    parser.add_argument(
        "--key",
        type=key,
        metavar="KEY",
        help="of new music: 'D minor', Dm, Bb, F#m (default: drawn from what the training music has)",
    )
    parser.add_argument(
        "--surprise",
        type=kinds.surprise,
        default=1.0,
        help="of new music: 0 is calm, near to the training music; 1 as usual; up to 3 wilder (default: %(default)g)",
    )
    parser.add_argument(
        "--best-of",
        type=kinds.best_of,
        default=1,
        metavar="N",
        help="compose so many pieces for each sample and keep the one with the most usual style (default: %(default)s)",
    )
    parser.add_argument(
        "--form",
        choices=FORMS,
        default=FORMS[0],
        help="a theme that comes again, in pieces of about 50 s or more; or music that goes on without one (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--ending",
        action=argparse.BooleanOptionalAction,
        default=None,
        help=f"come to a close at the end (default: for {LEAST_CLOSED_SECONDS:g} s and more)",
    )


def refuse_wrong_loops(parser: argparse.ArgumentParser, options: argparse.Namespace, given: list[str]) -> None:
    """A tempo is of new music, a loop has one, and only a loop has bars."""
    others = [name for name in given if name != "--noise"]
    if options.tempo and others:
        parser.error(f"--tempo and {others[0]} cannot be combined: the tempo is that of the file")
    if options.loop is None:
        if options.meter and given:
            what = "the noise is that" if given[0] == "--noise" else "the bars are those"
            parser.error(f"--meter and {given[0]} cannot be combined: {what} of the file")
        return
    if given:
        parser.error(f"--loop and {given[0]} cannot be combined: a loop is new music")
    if not options.tempo:
        parser.error("--loop wants a tempo to count its bars in: give --tempo")
    if options.format not in EXACT_FORMATS:
        parser.error(f"--loop wants --format wav or flac: {options.format} adds samples, and the loop would stumble")
    options.meter = options.meter or COMMON_TIME


def refuse_wrong_wishes(parser: argparse.ArgumentParser, options: argparse.Namespace, given: list[str]) -> None:
    """A key and a surprise are of new music, and the best of several is one of its samples."""
    others = [name for name in given if name != "--noise"]
    if options.key and others:
        parser.error(f"--key and {others[0]} cannot be combined: the key is that of the file")
    if options.surprise != 1.0 and others:
        parser.error(f"--surprise and {others[0]} cannot be combined: it is of new music")
    taken = [*given, *(["--loop"] if options.loop else [])]
    if options.best_of > 1 and taken:
        parser.error(f"--best-of and {taken[0]} cannot be combined: it chooses among new pieces")
    if options.best_of > 1 and options.output == PIPE:
        parser.error("--best-of composes all pieces before it chooses: name a folder with --output")
    kept = [name for name in ("--vary", "--infill", "--reconstruct", "--loop") if getattr(options, name[2:])]
    if options.ending and kept:
        parser.error(f"--ending and {kept[0]} cannot be combined: it is of new music and of what a fragment goes on to")
    if options.ending and (options.noise or math.isinf(options.seconds) or (options.ends and options.like)):
        parser.error("--ending wants music of a length and of one style: leave out --noise, --to, and --seconds inf")


def song_form(options: argparse.Namespace) -> SongForm:
    """The form of a piece."""
    return SongForm.asked(options.form, options.ending, options.seconds)


def take_apart_ends(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """`--to` is a file beside --like, and else seconds."""
    options.to = None
    if options.ends and not (options.like or options.infill):
        parser.error("--to is of --infill, and then seconds, or of --like, and then a file")
    if not options.like:
        try:
            options.ends = [kinds.moment(text) for text in options.ends]
        except argparse.ArgumentTypeError as error:
            parser.error(f"argument --to: {error}")
        return
    if len(options.ends) > 1:
        parser.error("--like goes over to one style: give --to once")
    if options.ends and options.loop:
        parser.error("--loop and --to cannot be combined: a loop has one style")
    if options.ends:
        options.to, options.ends = Path(options.ends[0]), []
        if math.isinf(options.seconds):
            parser.error("--to wants music with an end: give --seconds a number")


def refuse_wrong_regions(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Regions come in pairs, and are of --infill, which wants something to do."""
    asked = bool(options.begins or options.ends or options.extend_left or options.extend_right)
    if asked and not options.infill:
        parser.error("--from, --to, --extend-left and --extend-right are of --infill: name the file to complete")
    if options.infill and not asked:
        parser.error("--infill wants to know where: give --from and --to, --extend-left or --extend-right")
    if len(options.begins) != len(options.ends):
        parser.error(f"--from and --to come in pairs, got {len(options.begins)} and {len(options.ends)}")


def refuse_on_a_pipe(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """What a pipe cannot take, and what only a pipe can."""
    if options.output != PIPE:
        if math.isinf(options.seconds):
            parser.error("--seconds inf has no end, and a file has: write it to a pipe with --output -")
        return
    if others := [f"--{name}" for name in ("reconstruct", "vary", "infill", "loop") if getattr(options, name)]:
        parser.error(f"{others[0]} writes files: name a folder with --output")
    if options.format != "wav":
        parser.error("a pipe gets WAV: leave out --format")
    if options.count not in (None, 1) or options.seeds:
        parser.error(f"a pipe takes one sound: leave out --{'seeds' if options.seeds else 'count'}")
