"""Make the notebooks from their sources, training_gans.py and play.py, and run them.

A cell begins with `# %%`, one of text with `# %% [markdown]`, an exercise with `# %% exercise`. What stands in an
exercise between `# solution` and `# end` is in training_gans_solutions.ipynb; training_gans.ipynb has three dots.
"""

import argparse
import re
import time
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from piano.foundation.errors import ConfigError, MusiganError, run_command


class Recipe(NamedTuple):
    """What a notebook is made of."""

    source: Path
    is_solved: bool
    """Whether it has the exercises solved."""


FOLDER = Path(__file__).resolve().parent
SOURCE = FOLDER / "training_gans.py"
NOTEBOOKS = {
    "training_gans.ipynb": Recipe(SOURCE, False),
    "training_gans_solutions.ipynb": Recipe(SOURCE, True),
    "play.ipynb": Recipe(FOLDER / "play.py", False),
}
CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)
SOLUTION = re.compile(r"^( *)# solution\n(.*?)^ *# end\n?", re.MULTILINE | re.DOTALL)
KEY = re.compile(r'^( *"\w+": ).*$', re.MULTILINE)
MOST_BYTES = 2_000_000
EXAMPLE = "examples:\n  python -m tutorial.build_notebooks --run\n  python -m tutorial.build_notebooks --check"


def read_cells(text: str) -> list[tuple[str, str]]:
    """(kind, source) of every cell; kinds are `markdown`, `code` and `exercise`. Text before the first is left out."""
    parts = CELL.split(text)[1:]
    cells = []
    for mark, body in zip(parts[::2], parts[1::2], strict=True):
        kind = {"": "code", "[markdown]": "markdown", "exercise": "exercise"}.get(mark.strip())
        if kind is None:
            raise ConfigError(f"a cell is marked '# %%{mark}'; it can be [markdown], exercise or nothing.")
        body = body.strip("\n")
        if kind == "markdown":
            body = "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.splitlines())
        cells.append((kind, body))
    return cells


def open_exercise(source: str) -> str:
    """An exercise with three dots in place of its answer: a body, or the value of every key."""

    def open_answer(found: re.Match[str]) -> str:
        indent, answer = found.groups()
        keys = KEY.findall(answer)
        return "".join(f"{key}...,\n" for key in keys) if keys else f"{indent}...  # your answer\n"

    return SOLUTION.sub(open_answer, source + "\n").rstrip("\n")


def solve_exercise(source: str) -> str:
    """An exercise with its answer, without the marks."""
    return SOLUTION.sub(lambda found: found.group(2), source + "\n").rstrip("\n")


def build(*, is_solved: bool, source: Path = SOURCE, text: str | None = None) -> NotebookNode:
    """A notebook without outputs.

    Parameters
    ----------
    is_solved : bool
        Whether its exercises have their answers.
    source : Path
    text : str, optional
        What takes the place of the source.
    """
    notebook = nbformat.v4.new_notebook()
    cells = read_cells(source.read_text(encoding="utf-8") if text is None else text)
    for index, (kind, content) in enumerate(cells):
        if kind == "markdown":
            cell = nbformat.v4.new_markdown_cell(content)
        else:
            if kind == "exercise":
                content = solve_exercise(content) if is_solved else open_exercise(content)
            cell = nbformat.v4.new_code_cell(content)
        cell["id"] = f"cell-{index}"
        notebook.cells.append(cell)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def built(recipe: Recipe) -> NotebookNode:
    """A notebook of its recipe, without outputs."""
    return build(is_solved=recipe.is_solved, source=recipe.source)


def sources(notebook: NotebookNode) -> list[tuple[str, str]]:
    """Kind and text of every cell, without its output."""
    return [(cell["cell_type"], cell["source"]) for cell in notebook.cells]


def execute(notebook: NotebookNode) -> float:
    """Run every cell in a kernel that starts in the tutorial's folder; returns the seconds, raises MusiganError."""
    began = time.monotonic()
    try:
        NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(FOLDER)}}).execute()
    except CellExecutionError as error:
        raise MusiganError(f"a cell failed: {str(error).strip().splitlines()[-1]}") from None
    for cell in notebook.cells:
        cell["metadata"].pop("execution", None)  # times of day: they would change with every run
    return time.monotonic() - began


def stale_notebooks() -> list[str]:
    """Notebooks that are missing or whose cells are not those of the source."""
    return [
        name
        for name, recipe in NOTEBOOKS.items()
        if not (FOLDER / name).is_file()
        or sources(nbformat.read(FOLDER / name, as_version=4)) != sources(built(recipe))
    ]


def make(options: argparse.Namespace) -> None:
    """Check, or build and run."""
    if options.check:
        if stale := stale_notebooks():
            raise ConfigError(
                f"{', '.join(stale)}: not as in their source. Run python -m tutorial.build_notebooks --run"
            )
        print("The notebooks are as their source.")
        return
    for name, recipe in NOTEBOOKS.items():
        if options.only not in (None, name):
            continue
        notebook = built(recipe)
        said = "not run"
        if options.run:
            said = f"run in {execute(notebook) / 60:.1f} minutes"
        text = nbformat.writes(notebook)
        if len(text) > MOST_BYTES:
            raise MusiganError(f"{name} would be {len(text) / 1e6:.1f} MB; pictures and sounds must be smaller.")
        (FOLDER / name).write_text(text + "\n", encoding="utf-8")
        print(f"{name}: {len(notebook.cells)} cells, {len(text) / 1e3:.0f} kB, {said}", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Build the notebooks."""
    parser = argparse.ArgumentParser(
        prog="build_notebooks.py",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", action="store_true", help="execute them too (default: build without outputs)")
    parser.add_argument("--only", choices=tuple(NOTEBOOKS), help="make this one (default: all)")
    parser.add_argument("--check", action="store_true", help="only say whether they are up to date (default: off)")
    options = parser.parse_args(argv)
    return run_command(lambda: make(options))


if __name__ == "__main__":
    raise SystemExit(main())
