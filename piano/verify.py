"""Is a model that was given away what its maker wrote: hashes, weights, samples, and the first sample made again?"""

import argparse
from pathlib import Path
from typing import NamedTuple

from piano.foundation.doors import command, fill, program
from piano.foundation.errors import AudioError, CheckpointError, MusiganError, run_command
from piano.foundation.model_folder import SUFFIX, holds_shipped, named_folder
from piano.foundation.receipt import Receipt, model_hash, read_receipt
from piano.foundation.screen_text import CommandParser, counted, join_names, printable
from piano.foundation.shipped_format import read_shipped, shipped_path
from piano.foundation.sums import SUMS_NAME, compare_sums, files_below, read_sums
from piano.reproduce import make_again
from piano.utilities import build_generator, load_discriminator

EXIT_DIFFERS = 1
SOUND_SUFFIXES = (".mp3", ".flac", ".wav")
SAME_DB = 30.0
"""Signal over difference from which a sound that was made on another machine is the same: its last bits are others."""
EXAMPLE = """examples:
  {musigan verify} my_model
  {musigan verify} shipped --quick
"""


class Checked(NamedTuple):
    """One thing that was looked at."""

    lines: list[str]
    """What was found, for people; never empty."""
    is_good: bool


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog=program("verify"), description=__doc__, epilog=fill(EXAMPLE))
    parser.add_argument("folder", type=named_folder, help="of a model that was given away, or shipped")
    parser.add_argument(
        "--quick", action="store_true", help="do not make the first sample again (default: do, which takes seconds)"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Exit status 0 if all is as it was written, 1 if not, 2 if there is nothing to verify."""
    options = parse_arguments(argv)
    statuses: list[int] = []
    refused = run_command(lambda: statuses.append(verify(options.folder, is_quick=options.quick)))
    return refused or statuses[0]


def verify(folder: Path, *, is_quick: bool) -> int:
    """Look at everything, say it line by line; returns the exit status.

    Raises
    ------
    CheckpointError
        There is no such folder, no model in it, or no list of hashes.
    """
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {printable(folder)}. Name that of a model that was given away.")
    if not holds_shipped(folder):
        raise CheckpointError(
            f"there is no generator{SUFFIX} in {printable(folder)}. A model is given away with `{command('export')}`."
        )
    checks: list[Checked] = []

    def say(check: Checked) -> None:
        checks.append(check)
        for line in check.lines:
            print(line, flush=True)

    say(check_sums(folder))
    model, found = check_weights(folder)
    say(model)
    samples, receipts = check_samples(folder, found)
    say(samples)
    if not is_quick and model.is_good:
        if receipts:
            print("Making the first sample once more:", flush=True)
        say(check_first(folder, receipts))
    is_good = all(check.is_good for check in checks)
    print(f"{printable(folder)}: {'as it was given away' if is_good else 'NOT as it was given away'}.")
    return 0 if is_good else EXIT_DIFFERS


def check_sums(folder: Path) -> Checked:
    """Every file against the list; raises CheckpointError where there is no list."""
    sums = read_sums(folder)
    differences = compare_sums(folder, sums)
    if lines := differences.lines:
        return Checked(lines, False)
    return Checked([f"{SUMS_NAME}: {counted(len(sums), 'file')}, all unchanged"], True)


def check_weights(folder: Path) -> tuple[Checked, str]:
    """Whether the networks load; and the hash of the generator, empty where it does not."""
    lines = []
    try:
        content = read_shipped(shipped_path(folder, "generator"), "generator")
        generator = build_generator(content)
        found = model_hash(content["model"], content["keywords"])
        channels = "stereo" if generator.sound_channels == 2 else "mono"
        count = sum(parameter.numel() for parameter in generator.parameters())
        lines.append(
            f"{shipped_path(folder, 'generator').name}: a generator, epoch {content['epoch']}, "
            f"{counted(count, 'parameter')}, {generator.sample_rate:,} Hz {channels}"
        )
        judges = shipped_path(folder, "discriminator")
        if judges.exists():
            load_discriminator(folder)
            lines.append(f"{judges.name}: a discriminator")
    except MusiganError as error:
        return Checked([*lines, one_line(error)], False), ""
    return Checked(lines, True), found


def check_samples(folder: Path, model: str) -> tuple[Checked, dict[str, Receipt]]:
    """Whether the receipts of all sounds name this model; and the receipts by name."""
    receipts: dict[str, Receipt] = {}
    wrong = []
    names = [name for name in files_below(folder) if Path(name).suffix.lower() in SOUND_SUFFIXES]
    for name in names:
        try:
            receipts[name] = read_receipt(folder / name)
        except AudioError as error:
            wrong.append(one_line(error))
            continue
        if model and receipts[name].model != model:
            wrong.append(f"{printable(name)}: made by another model, its receipt says")
    if wrong:
        return Checked(wrong, False), receipts
    if not names:
        return Checked(["samples: none"], True), receipts
    words = "made by this model, their receipts say" if len(names) > 1 else "made by this model, its receipt says"
    return Checked([f"samples: {counted(len(names), 'sound')}, {words}"], True), receipts


def check_first(folder: Path, receipts: dict[str, Receipt]) -> Checked:
    """Make the first sample again that needs no other file."""
    name = next((name for name in sorted(receipts) if not receipts[name].sources), None)
    if name is None:
        needed = " No sound here can be made without the file it goes on from." if receipts else ""
        return Checked([f"made again: nothing.{needed}"], True)
    try:
        again = make_again(receipts[name], folder / name, folder)
    except MusiganError as error:
        return Checked([f"{printable(name)}: cannot be made again: {one_line(error)}"], False)
    shown, difference = printable(name), again.difference
    if difference.is_identical:
        return Checked([f"{shown}: made again, {difference.sentence()}"], True)
    is_same = difference.samples == difference.other_samples and difference.ratio_db >= SAME_DB
    if is_same:
        return Checked([f"{shown}: made again, the same up to rounding ({difference.ratio_db:.0f} dB)."], True)
    reasons = f" Made otherwise: {join_names(again.reasons)}." if again.reasons else ""
    return Checked([f"{shown}: made again, {difference.sentence()}{reasons}"], False)


def one_line(error: MusiganError) -> str:
    """What is wrong, in one line."""
    return printable(" ".join(str(error).split()))


if __name__ == "__main__":
    raise SystemExit(main())
