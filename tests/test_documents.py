"""Every link of every document leads somewhere, to the heading too; every picture of the documents is shown in one."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
FOLDERS = ("docs", "tutorial", "checkpoints", "findings", "data_prep", "benchmarks")
DOCUMENTS = sorted([*PROJECT.glob("*.md"), *(path for name in FOLDERS for path in (PROJECT / name).rglob("*.md"))])


def links(document: Path) -> list[str]:
    """Where a document points to inside the project."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", link)]


def anchors(document: Path) -> set[str]:
    """The headings of a document as addresses."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_every_link_leads_somewhere(document: Path) -> None:
    dead = []
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = (document.parent / path) if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_every_picture_is_shown_in_a_document() -> None:
    shown = {(document.parent / link).resolve() for document in DOCUMENTS for link in links(document)}
    assert [path.name for path in (PROJECT / "docs").rglob("*.png") if path.resolve() not in shown] == []


def test_the_readme_has_plain_words_before_its_research_tables() -> None:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    order = ["## Hear it", "## Install", "## Your own music", "## What it reaches", "## For researchers", "## Licence"]
    places = [text.index(title) for title in order]
    assert places == sorted(places)
    plain = text[text.index("## What it reaches") : text.index("## Where to read first")]
    assert "|" not in plain and "evaluate.py" not in plain
