"""The front door: `musigan VERB ...` runs the command of that name.

Every verb is a module with a `main`; it is imported only when it is called, so that the list of verbs comes at once.
"""

import difflib
import importlib
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

EXIT_USER_ERROR = 2


class Verb(NamedTuple):
    """Where a verb lives and what it does."""

    module: str
    """Module whose `main(argv)` is the command."""
    summary: str
    """One line for `musigan --help`."""


VERBS: dict[str, Verb] = {
    "prepare": Verb("data_prep.prepare_dataset", "cut a folder of music into exact chunks, with a report"),
    "dataset": Verb("data_prep.create_dataset", "turn the chunks into training and validation pairs"),
    "train": Verb("piano.piano_main", "pretrain and train the generator and the discriminator"),
    "generate": Verb(
        "piano.generate_music", "make music from noise, continue a fragment, reconstruct a file"
    ),
    "reproduce": Verb(
        "piano.reproduce", "make a sound again from its receipt, and say whether it is the same"
    ),
    "export": Verb("piano.export_model", "turn a checkpoint into small files that can be given away"),
    "check-discriminator": Verb(
        "piano.check_discriminator", "let every discriminator judge one generator's music"
    ),
    "evaluate": Verb("piano.evaluate", "hold a generator's music against real music, in numbers"),
    "compare": Verb("piano.compare", "say which of two runs makes better music, if it can be told"),
    "doctor": Verb(
        "piano.doctor.command", "say why a run failed, what this machine can train, what is wired wrong"
    ),
    "report": Verb(
        "piano.evaluation.report", "hear a run learn, on one offline page with all that is known of it"
    ),
    "listen": Verb("piano.evaluation.listen_page", "the old name of report, kept for one release"),
    "render-scores": Verb("data_prep.render_scores", "play the built-in piano scores into audio files"),
}

USAGE = "usage: musigan VERB [options]      (musigan VERB --help explains a verb)"


def help_text() -> str:
    """The verbs in the order in which they are used, one line each."""
    width = max(len(name) for name in VERBS)
    rows = [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    example = "example:\n  musigan prepare ~/Music && musigan dataset && musigan train --minutes 60 && musigan generate"
    return "\n".join([USAGE, "", "verbs:", *rows, "", example])


def unknown_verb(name: str) -> str:
    """One sentence for a verb that does not exist, with the nearest one that does."""
    nearest = difflib.get_close_matches(name.lower(), VERBS, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(VERBS)}."
    return f"musigan: {name!r} is not a verb; {hint}"


def installed_version() -> str:
    """Version of the installed package, or a word for a plain folder."""
    try:
        return version("musigan")
    except PackageNotFoundError:
        return "not installed, run from its folder"


def main(argv: list[str] | None = None) -> int:
    """Run one verb with the arguments that follow it.

    Returns
    -------
    int
        The command's own exit status; 2 for an unknown verb.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if arguments[0] == "--version":
        print(f"musigan {installed_version()}")
        return 0
    name, *rest = arguments
    if name not in VERBS:
        print(unknown_verb(name), file=sys.stderr)
        return EXIT_USER_ERROR
    sys.argv[0] = f"musigan {name}"  # argparse shows this as the program's name
    return importlib.import_module(VERBS[name].module).main(rest)


if __name__ == "__main__":
    raise SystemExit(main())
