"""From nothing to new music: the shipped model plays, twelve old scores are learned, one page has it all.

Every step is a command of its own and is printed before it runs. Nothing is fetched from anywhere.
"""

import argparse
import os
import subprocess
import sys
import webbrowser
from pathlib import Path
from typing import NamedTuple

from piano.foundation.doors import command, fill, front, program
from piano.foundation.errors import EXIT_INTERRUPTED, EXIT_RUINED, MusiganError, run_command
from piano.foundation.made_files import numbered, write_bytes
from piano.foundation.model_folder import SHIPPED, holds_shipped, project_models, shipped_folder
from piano.foundation.options import make_output_folder
from piano.foundation.run_log import read_history
from piano.foundation.screen_text import CommandParser, command_lines, counted, wrapped
from piano.stages import JUDGES, STAGES

EXAMPLE = """examples:
  {musigan demo}                                 ten minutes of learning, and 6 or more for the rest
  {musigan demo} --minutes 3 --open              hurried: goes on from a model of the project, and opens the page
"""
HURRIED_MINUTES = 8.0
"""Below this a model from nothing makes a drone: a hurried demo goes on from a trained model instead."""
STEPS = 9
MARK = "made-by-demo.txt"
SINGING = "satie-gymnopedie-no-1-37-take0.mp3"


class DemoError(MusiganError):
    """A step of the demo failed; its own message stands above."""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog=program("demo"), description=__doc__, epilog=fill(EXAMPLE))
    add = parser.add_argument
    add("--minutes", type=float, default=10.0, help="of learning (default: %(default)g)")
    add("--output", type=Path, default=Path("demo"), help="folder for everything (default: %(default)s)")
    add("--open", action="store_true", help="open the page in a browser at the end (default: off)")
    options = parser.parse_args(argv)
    if not 1.0 <= options.minutes <= 10_000:
        parser.error("--minutes is a number from 1 to 10000")
    return options


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    options = parse_arguments(argv)
    return run_command(lambda: run_demo(options.output, options.minutes, is_opened=options.open))


class Demo(NamedTuple):
    """What the steps share."""

    folder: Path
    """Where everything goes."""
    minutes: float
    """Of learning."""
    has_shipped: bool
    """Whether the model that comes with the project is there."""
    has_base: bool = False
    """Whether there is one of the data set's form to go on from."""

    @property
    def is_hurried(self) -> bool:
        """Whether learning goes on from a model of the project, because the minutes are few."""
        return self.has_base and self.minutes < HURRIED_MINUTES

    @property
    def prompt(self) -> Path:
        """The fragment that is continued."""
        return self.folder / "prompt" / SINGING

    @property
    def music(self) -> Path:
        """What is learned from, as sound."""
        return self.folder / "music"

    @property
    def dataset(self) -> Path:
        """What is learned from, as pairs."""
        return self.folder / "dataset"

    @property
    def run(self) -> Path:
        """What learning leaves."""
        return self.folder / "checkpoints"

    @property
    def has_judges(self) -> bool:
        """Whether a discriminator learned something in the run."""
        learned = {line.get("stage") for line in read_history(self.run) if "audio_seconds" in line}
        return any(stage.name in learned for stage in STAGES if set(stage.learns) & set(JUDGES))

    @property
    def page(self) -> Path:
        """The page with everything on it."""
        return self.folder / "report.html"


def run_demo(folder: Path, minutes: float, *, is_opened: bool = False) -> None:
    """All steps.

    Parameters
    ----------
    folder : Path
        Where a demo has learned already, or something else lies, the next free number is taken: nothing is replaced.
    minutes : float
        Of training.
    is_opened : bool
        Whether the page is opened in a browser.

    Raises
    ------
    DemoError
        A step failed.
    """
    folder = next(name for name in numbered(folder) if is_free(name))
    make_output_folder(folder)
    write_bytes(folder / MARK, b"Made by the demo of MusiGAN.\n")
    print(f"Everything goes into {folder}.")
    demo = Demo(folder, minutes, has_shipped=holds_shipped(shipped_folder()), has_base="mixed" in project_models())
    listen_first(demo)
    make_dataset(demo)
    learn(demo)
    compose(demo)
    judge(demo)
    make_page(demo)
    conclude(demo)
    if is_opened:
        webbrowser.open(demo.page.resolve().as_uri())


def listen_first(demo: Demo) -> None:
    """Step 1: two samples of the shipped model, and one continuation."""
    say(1, "Listen first: the model that comes with the project")
    step("render-scores", "--match", "gymnopedie", "--seed", 1, "--max-seconds", 8, "--output", demo.prompt.parent)
    if demo.has_shipped:
        play = ["--checkpoints", SHIPPED, "--seconds", 15]
        output = ["--output", demo.folder / "shipped_out"]
        step("generate", *play, "--count", 2, *output)
        step("generate", *play, "--count", 1, "--prompt", demo.prompt, *output)


def make_dataset(demo: Demo) -> None:
    """Steps 2 to 4: from scores to pairs."""
    say(2, "Music to learn from: play twelve Public Domain piano scores into MP3 files")
    step("render-scores", "--output", demo.music)
    say(3, "Prepare: bring every song to one level, 16 kHz mono")
    prepared = demo.folder / "prepared"
    step("prepare", demo.music, "--output", prepared, "--sample-rate", 16000, "--channels", 1)
    say(4, "Data set: pairs of neighbouring segments, whole songs kept for validation")
    step("dataset", "--input", prepared, "--output", demo.dataset)


def learn(demo: Demo) -> None:
    """Step 5: train, from nothing or from a model of the project on."""
    learning = f"Learn for {counted(demo.minutes, 'minute')}"
    if demo.is_hurried:
        say(5, f"{learning}, from a model that comes with the project: from nothing wants {HURRIED_MINUTES:g} or more")
    else:
        say(5, f"{learning}, from nothing: autoencoder, flow, judges, adversarial stages")
    start = ["--from", SHIPPED] if demo.is_hurried else ["--preset", "tiny"]
    folders = ["--dataset", demo.dataset, "--checkpoints", demo.run]
    step("train", *start, "--minutes", f"{demo.minutes:g}", *folders, *(["--anyway"] if demo.is_hurried else []))


def compose(demo: Demo) -> None:
    """Step 6: music of the new model."""
    say(6, "Compose: four samples from white noise, two continuations of a fragment")
    play = ["--checkpoints", demo.run, "--seconds", 20]
    output = ["--output", demo.folder / "music_out"]
    step("generate", *play, "--count", 4, *output)
    step("generate", *play, "--count", 2, "--prompt", demo.prompt, *output)


def judge(demo: Demo) -> None:
    """Steps 7 and 8: the doctor, the discriminators, the ruler; and the two models side by side."""
    say(7, "What happened: the doctor on the run, and every saved discriminator on the last generator's music")
    step("doctor", demo.run)
    if demo.has_judges:
        check = demo.folder / "check_discriminator"
        step("check-discriminator", "--gen-ckpt", "latest", "--checkpoints", demo.run, "--output", check)
    else:
        print(wrapped("No discriminator has learned: there was no time for it. More --minutes bring one."))
    say(8, "Measure: the generator's music against pieces it never learned")
    music = ["--real", demo.dataset, "--train", demo.dataset]
    step("evaluate", "--checkpoints", demo.run, *music, "--count", 16, "--output", demo.folder / "evaluation")
    if demo.has_shipped:
        output = demo.folder / "comparison"
        step("compare", demo.run, SHIPPED, "--real", demo.dataset, "--count", 12, "--output", output)


def make_page(demo: Demo) -> None:
    """Step 9: everything on one page."""
    say(9, "Look and listen: one page that works offline")
    folder = demo.folder
    heard = ["--music", folder / "music_out", "--real", demo.music]
    tournament = ["--tournament", folder / "check_discriminator"] if demo.has_judges else []
    judged = ["--scores", folder / "evaluation", *tournament]
    beside = ["--shipped", folder / "shipped_out", "--comparison", folder / "comparison"] if demo.has_shipped else []
    step("report", demo.run, *heard, *judged, "--output", demo.page, *beside)


def is_free(folder: Path) -> bool:
    """Whether a demo may begin in a folder: there is nothing, or a demo that was broken off before it learned."""
    if not folder.exists():
        return True
    if not folder.is_dir() or (folder / "checkpoints").exists():
        return False
    return (folder / MARK).is_file() or not any(folder.iterdir())


def conclude(demo: Demo) -> None:
    """Say what can be heard, the best sound first."""
    print()
    if demo.has_shipped:
        first = "Hear first what the model that comes with the project makes; it learned for hours:"
        print(wrapped(first))
        show_sounds(demo.folder / "shipped_out")
    start = "a model of the project, after" if demo.is_hurried else "your model, learned from nothing in"
    print(wrapped(f"And this is what {start} {counted(demo.minutes, 'minute')} with twelve old scores:"))
    show_sounds(demo.folder / "music_out")
    print(f"Both on one page: {demo.page}")
    print(f"Next, your own music: {fill('{musigan prepare}')} ~/Music")


def show_sounds(folder: Path) -> None:
    """List the sounds of a folder, one a line."""
    for path in sorted(folder.glob("*.wav")):
        print(f"  {path}")


def say(number: int, text: str) -> None:
    """Head a step."""
    print(f"\n{wrapped(f'== {number} of {STEPS}  {text}')}", flush=True)


def step(verb: str, *arguments: object) -> None:
    """Print a command and run it in a process of its own; raises DemoError if it fails."""
    print(command_lines(command(verb, *arguments)), flush=True)
    project = Path(__file__).resolve().parents[1]
    paths = [str(project), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "MUSIGAN_FRONT": front()}
    words = [sys.executable, "-m", "musigan", verb, *map(str, arguments)]
    status = subprocess.run(words, env=environment, check=False).returncode
    if status in (EXIT_INTERRUPTED, -2):
        raise KeyboardInterrupt
    if status and (verb, status) != ("train", EXIT_RUINED):  # that run can be heard, and said what it is
        raise DemoError(f"the demo ends here: `{verb}` failed, see above. What was made so far stays.")


if __name__ == "__main__":
    raise SystemExit(main())
