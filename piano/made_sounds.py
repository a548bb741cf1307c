"""The files of made sounds: names that say what they are, nothing replaced, one gain for what would clip."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from piano.foundation.audio_writer import fitting_subtype, open_writer, source_subtype
from piano.foundation.errors import AudioError
from piano.foundation.loop_tags import LoopTags
from piano.foundation.made_files import numbered_starts, publish_together, put_in_place, unfinished
from piano.foundation.prompts import Heard
from piano.foundation.receipt import Kind, Receipt, read_receipt
from piano.foundation.screen_text import counted, printable
from piano.foundation.sound_progress import Progress, say
from piano.foundation.spooled_sound import SpooledSound

SILENT_DB = -60.0
"""A whole made sound below this is told to be silence; the ruler counts windows of 50 ms below the same."""
LONGEST_NAME_PART = 120
"""Bytes: a disk's names hold 255 with all that is added."""


def sample_name(source: Path | None, seed: int, item: int) -> str:
    """seed0_sample_0000, or NAME_seed0_sample_0000 of a prompt or noise."""
    return f"{name_part(source) + '_' if source else ''}seed{seed}_sample_{item:04d}"


def name_part(path: Path) -> str:
    """A file's name without suffix, as part of another one: no letter that a disk or a terminal minds, not too long."""
    kept = "".join(letter if letter.isprintable() and letter not in '/\\:*?"<>|' else "_" for letter in path.stem)
    return kept.encode()[:LONGEST_NAME_PART].decode(errors="ignore").strip(" .") or "sound"


class Shelf(NamedTuple):
    """What all files of a command have in common."""

    sample_rate: int
    channels: int
    format: str
    """wav, flac, mp3, m4a."""
    is_replacing: bool
    """Whether --overwrite was given."""


class Target(NamedTuple):
    """The files of one sound: where they go, what they say of themselves."""

    shelf: Shelf
    start: Path
    """Folder and name without kind and suffix."""
    says: dict[Kind, Receipt]
    heard: Heard | None = None
    """What a `full` file begins with."""
    loop: LoopTags | None = None
    """That it is one, for samplers to read."""
    is_as_it_is: bool = False
    """Nothing is made softer that would clip: most of it is somebody's recording."""
    subtype: str | None = None
    """What samples are written as; None: what the format usually has, or for a `full` file the prompt's."""

    def endings(self) -> dict[Kind, str]:
        """How the names end."""
        suffix = f".{self.shelf.format}"
        return {kind: suffix if kind == "sample" else f".{kind}{suffix}" for kind in self.says}

    def write(self, sounds: Iterator[Tensor], progress: Progress) -> list[Path]:
        """Write waveform pieces (channels, samples); the files appear when they are whole.

        Nothing that is there is replaced without --overwrite. What was made in the same way is not made again. With
        --overwrite that very sound is made again in its place, under whatever number it stands; where there is none,
        an earlier sound of the same name gives way. A file that this command did not make is never replaced.
        """
        is_replacing = self.shelf.is_replacing
        present = self.find_present()
        if present and not is_replacing:
            say(f"{printable(present[0])} is there already, made in just this way (--overwrite makes it again).")
            progress.skip()
            return present
        channels = self.shelf.channels
        with contextlib.ExitStack() as stack:
            spool = stack.enter_context(
                contextlib.closing(SpooledSound(channels, self.start.parent, is_levelled=not self.is_as_it_is))
            )
            for sound in sounds:
                piece = sound.float().cpu().numpy()
                spool.add(piece)
                if piece.shape[-1]:  # an empty one is a step on the way
                    progress.update(piece.shape[-1])
            names: dict[Kind, Path] = {
                kind: self.start.with_name(self.start.name + end) for kind, end in self.endings().items()
            }
            made: dict[Kind, Path] = {kind: stack.enter_context(unfinished(name)) for kind, name in names.items()}
            for kind, temporary in made.items():
                self._fill(kind, names[kind], temporary, spool)
            self._report(spool)
            if is_replacing and (own := present or self.find_own()):
                for temporary, name in zip(made.values(), own, strict=True):
                    put_in_place(temporary, name)
                return own
            return publish_together({self.endings()[kind]: path for kind, path in made.items()}, self.start)

    def find_present(self) -> list[Path]:
        """Files that were made in the same way before; empty if there are none."""
        return self._find(lambda kind, receipt: receipt.is_same_sound(self.says[kind]))

    def find_own(self) -> list[Path]:
        """Files of this name that this command made, in whatever way; empty if there are none."""
        return self._find(lambda kind, receipt: receipt.kind == kind)

    def _find(self, is_meant: Callable[[Kind, Receipt], bool]) -> list[Path]:
        """The first files of this name, numbers included, whose receipts are all meant; empty if there are none."""
        for start in numbered_starts(self.start):
            names: dict[Kind, Path] = {
                kind: start.with_name(start.name + ending) for kind, ending in self.endings().items()
            }
            if not any(os.path.lexists(name) for name in names.values()):
                return []
            with contextlib.suppress(AudioError):
                if all(is_meant(kind, read_receipt(name)) for kind, name in names.items()):
                    return list(names.values())
        return []

    def _fill(self, kind: Kind, name: Path, temporary: Path, spool: SpooledSound) -> None:
        """Write one of the files."""
        rate, heard = self.shelf.sample_rate, self.heard if kind == "full" else None
        subtype = self.subtype if heard is None else fitting_subtype(name, source_subtype(heard.path))
        says = self.says[kind]
        with open_writer(
            name,
            rate,
            spool.channels,
            metadata={"comment": says.text()},
            subtype=subtype,
            source_type=says.digital_source_type,
            loop=self.loop,
            into=temporary,
        ) as writer:
            for block in heard.blocks(rate) if heard is not None else ():
                writer.write(block)
            for piece in spool.pieces():
                writer.write(piece)
        if heard is not None and heard.over and subtype != "FLOAT":
            clipped = counted(heard.over, "sample")
            source = printable(heard.path)
            say(f"{source}: beyond full scale, {clipped} clipped in {printable(name.name)}.")

    def _report(self, spool: SpooledSound) -> None:
        """Say what became of a sound that would have clipped, or that is none."""
        name = printable(self.start.name)
        if spool.gain < 1.0:
            say(
                f"{name}: made {-20 * math.log10(spool.gain):.1f} dB softer as a whole, "
                f"or {counted(spool.over, 'sample')} would be beyond full scale."
            )
        if spool.rms_db < SILENT_DB:
            say(f"{name}: this model made silence of it ({spool.rms_db:.0f} dB). Try another --seed.")
