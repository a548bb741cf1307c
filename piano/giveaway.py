"""A model folder that one can give away: beside the weights a card, a licence, samples, figures, and the hashes of all.

A folder holds what somebody made. So everything is looked at before anything is written: what an earlier export wrote,
and nobody changed since, gives way; what anybody else put there is never replaced without being told to.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch

from piano.foundation.audio_io import MP3_RATES
from piano.foundation.errors import CheckpointError
from piano.foundation.made_files import refuse_other_work, write_bytes
from piano.foundation.model_folder import SOURCES_NAME
from piano.foundation.screen_text import counted, printable
from piano.foundation.shipped_format import shipped_path
from piano.foundation.sums import SUMS_NAME, unchanged, write_sums
from piano.generate_music import open_maker
from piano.generate_options import parse_arguments as generate_arguments
from piano.licence import LICENCE_NAME, Licence, kept_licence, read_licence, read_words
from piano.model_card import CARD_NAME, Given, card_text, read_run
from piano.piano_model import VariationalAttentionModel
from piano.utilities import build_generator, load_checkpoint, not_composing_yet
from piano.watching.training_pictures import LOSS_NAME, REAL_FAKE_NAME

SAMPLES = 3
SAMPLE_SECONDS = 20.0
SAMPLES_FOLDER, FIGURES_FOLDER = "samples", "figures"
RUN_FIGURES = (LOSS_NAME, REAL_FAKE_NAME)
"""Of the run as a whole."""
SCORED_FIGURES = ("scores.png", "samples.png", "kinds.png", "stereo.png")
"""Of the epoch that `musigan evaluate` measured."""
MOST_FIGURE_BYTES = 20_000_000


class Wishes(NamedTuple):
    """What the owner of a model wants to go with it."""

    licence: Licence | None
    """None: the one that an earlier export wrote, if it did."""
    about: str
    """Words for the card: what music it learned from."""
    samples: int
    options: tuple[object, ...] = ()
    """How the command line said it, for hints."""


def read_wishes(licence: str | None = None, about: str | None = None, samples: int = SAMPLES) -> Wishes:
    """Wishes as they stand on the command line; raises ConfigError for a file that cannot be read."""
    given = {"--licence": licence, "--about": about, "--samples": None if samples == SAMPLES else samples}
    options = tuple(word for pair in given.items() if pair[1] is not None for word in pair)
    return Wishes(
        read_licence(licence) if licence is not None else None,
        read_words(about, "--about") if about else "",
        samples,
        options,
    )


class Giveaway(NamedTuple):
    """Everything beside the weights."""

    run: Path
    """The folder of the run."""
    output: Path
    epoch: int
    wishes: Wishes
    is_half: bool
    has_discriminator: bool
    overwrite: bool

    def refuse(self, *, advice: str) -> None:
        """Raise CheckpointError where a file is in the way that no export wrote, or that was changed since."""
        own = unchanged(self.output)
        names = [CARD_NAME, LICENCE_NAME, *self.copied(), *self.old_judges()]
        for name in names:
            refuse_other_work(
                self.output / name,
                overwrite=self.overwrite,
                error=CheckpointError,
                is_own=lambda _, name=name: name in own,
                held="something that export did not write, or that was changed since",
                advice=advice,
            )
        refuse_other_work(
            self.output / SUMS_NAME,
            overwrite=self.overwrite,
            error=CheckpointError,
            is_own=lambda _: shipped_path(self.output, "generator").name in own,
            held="a list of other files",
            advice=advice,
        )

    def copied(self) -> dict[str, Path]:
        """Files of the run that go with the model: the name that each gets to where it is now."""
        found = {f"{FIGURES_FOLDER}/{name}": self.run / name for name in RUN_FIGURES}
        if self.is_evaluated():
            found |= {f"{FIGURES_FOLDER}/{name}": self.run / "evaluation" / name for name in SCORED_FIGURES}
        found[SOURCES_NAME] = self.run / SOURCES_NAME
        return {
            name: path for name, path in found.items() if path.is_file() and path.stat().st_size <= MOST_FIGURE_BYTES
        }

    def old_judges(self) -> set[str]:
        """A discriminator that lies there and is not wanted: it would be taken for this model's."""
        path = shipped_path(self.output, "discriminator")
        return {path.name} if path.exists() and not self.has_discriminator else set()

    def is_evaluated(self) -> bool:
        """Whether the last evaluation inside the run's folder is of this epoch."""
        try:
            told: Any = json.loads((self.run / "evaluation" / "scores.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(told, dict) and str(told.get("subject", "")).startswith(f"epoch {self.epoch} of ")

    def write(self, weights: list[Path]) -> None:
        """Write samples, figures, licence, card and hashes beside weights that are there; says what was written."""
        before = unchanged(self.output)
        content = load_checkpoint(self.output, "generator", "best")
        warning = not_composing_yet(content)
        samples = [] if warning else [path.relative_to(self.output).as_posix() for path in self.make_samples()]
        figures = self.copied()
        licence = self.licence(is_kept=LICENCE_NAME in before)
        given = Given(
            epoch=self.epoch,
            keywords=content["keywords"],
            parameters=parameters_of(build_generator(content)),
            is_half=self.is_half,
            steps=int(content["model"]["default_steps"]),
            has_discriminator=self.has_discriminator,
            has_ends=(content.get("average") or content["model"]).get("style.ends") is not None,
            warning=warning,
            licence=licence,
            about=self.wishes.about,
            samples=samples,
            figures=[name for name in figures if name.startswith(FIGURES_FOLDER)],
        )
        card = card_text(self.output.resolve().name, read_run(self.run), given)
        for name, path in figures.items():
            (self.output / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self.output / name, path.read_bytes())
        write_bytes(self.output / LICENCE_NAME, licence.text.encode())
        write_bytes(self.output / CARD_NAME, card.encode())
        written = {CARD_NAME, LICENCE_NAME, *figures, *samples, *(path.name for path in weights)}
        self.clear((before | self.old_judges()) - written)
        write_sums(self.output, written)
        heard = f", {counted(len(samples), 'sample')}" if samples else ""
        print(f"{printable(self.output / CARD_NAME)}: the card{heard}, {LICENCE_NAME} and {SUMS_NAME} beside it.")
        if not self.wishes.about:
            print("The card does not say what music this was learned from: --about says it.")

    def licence(self, *, is_kept: bool) -> Licence:
        """The licence that was asked for, else that of an earlier export, else that none was chosen."""
        if self.wishes.licence is not None:
            return self.wishes.licence
        path = self.output / LICENCE_NAME
        if not is_kept or (kept := kept_licence(path)) is None:
            return read_licence(None)
        print(f"{printable(path)}: stays as it was chosen before; --licence names another.")
        return kept

    def make_samples(self) -> list[Path]:
        """Compositions of seeds 0, 1 ... by the model as it is given away, each with its receipt."""
        made: list[Path] = []
        folder = self.output / SAMPLES_FOLDER
        for seed in range(self.wishes.samples):
            words = ["--seed", seed, "--count", 1, "--seconds", SAMPLE_SECONDS, "--device", "cpu"]
            options = generate_arguments([str(word) for word in (*words, *(["--overwrite"] if self.overwrite else []))])
            maker = open_maker(self.output, options).computing_in(torch.float32)  # alike on every machine
            options.format = "mp3" if maker.generator.sample_rate in MP3_RATES else "flac"
            folder.mkdir(exist_ok=True)
            made += [path for paths in maker.make(folder, items=[0]) for path in paths]
        return made

    def clear(self, names: set[str]) -> None:
        """Take away what an earlier export wrote here and this one does not: it is of another model, or not wanted."""
        for name in sorted(names):
            (self.output / name).unlink(missing_ok=True)
            print(f"{printable(self.output / name)}: removed, it is no part of this export.")


def parameters_of(generator: VariationalAttentionModel) -> int:
    """How many numbers were learned."""
    return sum(parameter.numel() for parameter in generator.parameters())
