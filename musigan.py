"""The front door: `musigan VERB ...` runs the command of that name; in Python, `musigan.load("shipped")` plays a model.

Every verb is a module with a `main`; it is imported only when it is called, so that the list of verbs comes at once.
"""

import contextlib
import difflib
import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from piano.foundation.doors import VERBS, enter_front, installed_version
from piano.foundation.errors import EXIT_INTERRUPTED, EXIT_USER_ERROR, require_current_folder, run_command

if TYPE_CHECKING:
    from piano.player import Player

PATIENCE_SECONDS = 2.0
"""Before a word is said about what takes so long."""
NEAR = 0.7
"""How like a known verb an unknown one must be (difflib's ratio) to be taken for it."""
MEANT = {
    "tournament": "check-discriminator --all",
    "judge": "check-discriminator",
    "judges": "check-discriminator",
    "compose": "generate",
    "sample": "generate",
    "continue": "generate --prompt",
    "resume": "train --resume",
    "reconstruct": "generate --reconstruct",
    "finetune": "train --from",
    "pretrain": "train",
    "create-dataset": "dataset",
    "prepare-dataset": "prepare",
    "generate-music": "generate",
    "export-model": "export",
    "score": "evaluate",
    "render": "render-scores",
    "version": "--version",
}
"""What people call a thing that is done by another verb."""

USAGE = "usage: musigan VERB [options]      (musigan VERB --help explains a verb)"


def help_text() -> str:
    """The verbs in the order in which they are used, one line each."""
    width = max(len(name) for name in VERBS)
    rows = [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    example = "example:\n  musigan prepare ~/Music\n  musigan dataset\n  musigan train --minutes 60\n  musigan generate"
    return "\n".join([USAGE, "", "verbs:", *rows, "", example])


def unknown_verb(name: str) -> str:
    """One sentence for a verb that does not exist, with the nearest one that does."""
    word = name.lower().replace("_", "-")
    nearest = difflib.get_close_matches(word, [*VERBS, *MEANT], n=1, cutoff=NEAR)
    known = f"there are {', '.join(VERBS)}."
    hint = f"did you mean {MEANT.get(nearest[0], nearest[0])}?" if nearest else known
    return f"musigan: {name!r} is not a verb; {hint}"


@contextlib.contextmanager
def waiting_told(sentence: str) -> Iterator[None]:
    """Say on a terminal that something takes a while, if it does."""
    timer = threading.Timer(PATIENCE_SECONDS, lambda: print(sentence, file=sys.stderr, flush=True))
    timer.daemon = True
    if sys.stderr is not None and sys.stderr.isatty():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def load(model: str | Path = "shipped", *, epoch: int | str = "best", device: str = "auto") -> "Player":
    """A trained model that makes music: `load().compose(seconds=20, seed=3)`, `load().continue_("song.mp3")`.

    Parameters
    ----------
    model : str or Path
        Folder of a run, or of a model that was given away; `shipped` is the one that comes with the project.
    epoch : int or str
        A number, `latest`, or `best`: what was judged best.
    device : str
        auto, cpu, cuda or mps.

    Returns
    -------
    piano.player.Player
        Sound comes as arrays (channels, samples), float32 within [-1, 1], at `.sample_rate`.
    """
    player = importlib.import_module("piano.player")  # and with it PyTorch, which the verbs need not wait for
    return player.Player(model, epoch=epoch, device=device)


def __getattr__(name: str) -> str:
    """`__version__`, looked up when it is asked for."""
    if name == "__version__":
        return installed_version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
    sys.argv[0] = f"{enter_front()} {name}"  # argparse shows this as the program's name
    if refused := run_command(require_current_folder):
        return refused
    try:
        with waiting_told("Loading ..."):
            command = importlib.import_module(VERBS[name].module)
        return command.main(rest)
    except KeyboardInterrupt:  # while PyTorch is still being loaded: a command that runs says so itself
        print("Interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    raise SystemExit(main())
