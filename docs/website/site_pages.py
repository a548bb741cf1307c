"""Which documents are pages of the site, where they stand in it, and in what order."""

from pathlib import Path
from typing import Any, NamedTuple

PROJECT = Path(__file__).resolve().parents[2]


class Page(NamedTuple):
    """A page: what it is made from, and where it stands."""

    source: str
    """A file of the project, or the names of modules whose docstrings are shown."""
    address: str
    """Of the page's text in the site, ending in .md."""
    title: str
    """In the navigation; empty: the page is reached by links only."""


def _document(name: str, title: str) -> Page:
    return Page(f"docs/{name}.md", f"{name}.md", title)


SECTIONS: tuple[tuple[str, tuple[Page, ...]], ...] = (
    ("Hear it", (Page("docs/hear-it.md", "index.md", "Hear it"),)),
    (
        "Start",
        (
            _document("your-own-music", "Make your own in an evening"),
            _document("playing", "Play it"),
            _document("play", "A page in the browser"),
            _document("python", "From Python"),
            _document("in-your-daw", "In your DAW"),
            _document("on-the-web", "On the web"),
            _document("questions", "Questions people ask"),
            Page("README.md", "overview.md", "Everything at a glance"),
        ),
    ),
    (
        "Train",
        (
            _document("training-guide", "Training guide"),
            _document("time-budget", "With a time budget"),
            _document("keeping", "Work is never lost"),
            _document("scale", "Large collections"),
            _document("report", "The listening report"),
            _document("commands", "Commands"),
            _document("settings", "Settings"),
        ),
    ),
    (
        "Understand",
        (
            _document("how-it-works", "How it works"),
            _document("illnesses", "What an illness sounds like"),
            _document("doctor", "The doctor's book"),
            _document("loss-guide", "Loss guide"),
            _document("ruler", "The ruler"),
            _document("tournament", "The tournament"),
            _document("glossary", "Glossary"),
        ),
    ),
    (
        "Learn GANs",
        (
            Page("tutorial/README.md", "tutorial/index.md", "The tutorial"),
            Page("tutorial/training_gans.ipynb", "tutorial/training_gans.md", "The notebook"),
            Page("tutorial/training_gans_solutions.ipynb", "tutorial/training_gans_solutions.md", "With solutions"),
            Page("tutorial/play.ipynb", "tutorial/play.md", "A notebook to play in"),
        ),
    ),
    (
        "Results",
        (
            _document("results", "Leaderboard"),
            Page("checkpoints/MODEL_CARD.md", "model-card.md", "Model card"),
            _document("experiments", "What was tried"),
        ),
    ),
    (
        "Build on it",
        (
            Page("CONTRIBUTING.md", "contributing.md", "Add a loss, a stage, an encoder"),
            _document("architecture", "Architecture"),
            _document("data-format", "File formats"),
            _document("hostile-files", "Hostile files"),
            Page("findings/README.md", "findings.md", "Findings in libraries"),
            Page("CHANGELOG.md", "changelog.md", "Changes"),
        ),
    ),
)
"""The navigation. A document that is not there (yet) has no page; one of docs/ that stands nowhere here comes last."""

API: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("player", "Play from Python", ("musigan.load", "piano.player", "piano.foundation.sound_array")),
    ("losses", "Losses", ("piano.loss_functions",)),
    ("stages", "Stages and the game", ("piano.stages", "piano.training.game")),
    (
        "networks",
        "Networks",
        ("piano.piano_encoder_decoder", "piano.piano_model", "piano.discriminator", "piano.latent_style"),
    ),
    ("composing", "Composing", ("piano.composer", "piano.foundation.texture", "piano.foundation.phase")),
    ("doctor", "The doctor's rules", ("piano.doctor.rules", "piano.doctor.checks", "piano.doctor.verdict")),
    ("measuring", "Measures", ("piano.evaluation.distances", "piano.evaluation.descriptors")),
    (
        "files",
        "Files",
        ("piano.foundation.dataset_format", "piano.foundation.checkpoint_format", "piano.foundation.receipt"),
    ),
)
"""Pages of docstrings: address, title, modules or names."""


def pages() -> list[Page]:
    """Every page, in the order of the navigation."""
    found = [page for _, section in SECTIONS for page in section if (PROJECT / page.source).is_file()]
    known = {page.source for page in found}
    others = sorted(path.name for path in (PROJECT / "docs").glob("*.md") if f"docs/{path.name}" not in known)
    found += [Page(f"docs/{name}", name, name.removesuffix(".md").replace("-", " ").capitalize()) for name in others]
    return found + [Page(" ".join(names), f"api/{address}.md", title) for address, title, names in API]


def navigation(shown: list[Page]) -> list[dict[str, Any]]:
    """The navigation of the pages that there are, as the generator reads it."""
    left = {page.address: page for page in shown if page.title}
    tree: list[dict[str, Any]] = []
    for title, section in SECTIONS:
        entries = [{page.title: page.address} for page in section if left.pop(page.address, None)]
        tree += [{title: entries[0][title] if [*entries[0]] == [title] else entries}] if entries else []
    reference = [{page.title: left.pop(page.address).address} for page in shown if page.address.startswith("api/")]
    more = [{page.title: page.address} for page in left.values()]
    return [*tree, {"Python": reference}, *([{"More": more}] if more else [])]
