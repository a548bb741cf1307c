"""What documents promise is there: links, pictures, files, functions, settings, commands, examples in Python."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from musigan import VERBS
from piano.config_reader import load_config_from_yaml
from piano.evaluation.outcome import Evaluation
from piano.player import Player
from piano.utilities import load_generator
from tests.make_audio import write_music
from tests.named_things import code, files, wrong_names
from tests.shown_commands import PROJECT, shown_commands, unknown_options

FOLDERS = ("docs", "tutorial", "checkpoints", "findings", "data_prep", "benchmarks", "runs")
DOCUMENTS = sorted([*PROJECT.glob("*.md"), *(path for name in FOLDERS for path in (PROJECT / name).rglob("*.md"))])
SCRIPTS = sorted(path.relative_to(PROJECT).as_posix() for path in (PROJECT / "runs").glob("*.sh"))

HISTORY = ("docs/experiments.md", "tutorial/fashion-mnist-LICENSE.md")
"""What was called otherwise then, and what another project calls its files."""
RETIRED = {"listen"}
"""Verbs that are kept for one release after they got another name; the README does not show them any more."""
WORDS = """ear professor judge gate ruler texture shortcut receipt R P latent flow posterior style codec opening turn
player stage preset"""

AS_WRITTEN = (*HISTORY, "CHANGELOG.md", "docs/hostile-files.md")
"""What is history, and what is printed by a command."""
MOST_WORDS = 45
UNUSUAL = re.compile(r"\b(no numbers?|hundredths|dearest|so-manieth|numbers? that (is|are) none|nought)\b")
"""What is called NaN or infinity, %, most expensive, every n-th, zero."""


def name_of(document: Path) -> str:
    return document.relative_to(PROJECT).as_posix()


def links(document: Path) -> list[str]:
    """Where a document points to inside the project."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", link)]


def anchors(document: Path) -> set[str]:
    """The headings of a document as addresses."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def dead_links(document: Path) -> list[str]:
    """The links of a document that lead to no file, or to no heading of it."""
    dead = []
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = (document.parent / path) if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            dead.append(link)
    return dead


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    assert dead_links(document) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("## A `name` and more\n", encoding="utf-8")
    document = tmp_path / "document.md"
    document.write_text(
        "# Top\n[a](other.md), [b](other.md#a-name-and-more), [c](#top), [d](https://example.org/none)\n"
        "[e](none.md), [f](other.md#none), [g](#none)\n```\n[h](none.md)\n```\n",
        encoding="utf-8",
    )
    assert dead_links(document) == ["none.md", "other.md#none", "#none"]


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


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if name_of(path) not in HISTORY], ids=name_of)
def test_everything_that_a_document_names_is_there(document: Path) -> None:
    assert wrong_names(document.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see `piano/no_such.py`", "no such file: piano/no_such.py"),
        ("it writes `no_such.json`", "no such file: no_such.json"),
        ("`docs/{glossary,no_such}.md`", "no such file: docs/{glossary,no_such}.md"),
        ("`piano.no_such`", "no such name: piano.no_such"),
        ("`stages.no_such`", "no such name: stages.no_such"),
        ("`Game.no_such`", "no such name: Game.no_such"),
        ("`torch.no_such`", "no such name: torch.no_such"),
        ("calls `no_such(steps)`", "no such function: no_such"),
        ("in `NO_such`", "no such name: NO_such"),
        ("`ear_no_such`", "no such name: ear_no_such"),
        ("`loss_weights.no_such`", "no such name: loss_weights.no_such"),
        ("`doctor: no_such`", "no value of doctor: no_such"),
        ("`no_such: 3`", "no such setting: no_such"),
        ("`early_stopping: {no_such: 2}`", "no such setting: early_stopping.no_such"),
        ("`--no-such 3`", "no such option: --no-such"),
        ("`musigan no-such --seed 3`", "no such command: no-such"),
        ("`musigan train --no-such 3`", "train --no-such"),
        ("`train --no-such`", "train --no-such"),
        ("`piano_main.py --no-such`", "train --no-such"),
        ("`python benchmarks/no_such.py`", "no such command: benchmarks/no_such.py"),
        ("`python -m tests.no_such`", "no such command: tests/no_such.py"),
        ("`benchmarks/hash_run.py --no-such`", "benchmarks/hash_run.py --no-such"),
        ("```bash\nmusigan train --set no_such=3\n```\n", "no such setting: no_such"),
        ("```bash\nmusigan train \\\n  --no-such\n```\n", "train --no-such"),
        ("```\n a --no_such_step--> b\n```\n", "no such name: no_such_step"),
        ("\n\n    musigan train --no-such\n", "train --no-such"),
        ("`from piano.stages import no_such`", "no such import: from piano.stages import no_such"),
        ("`make no-such`", "no such target: make no-such"),
        ("the note `never said by anybody`", "no text says: never said by anybody"),
        ('`{"event": "score", "no_such"}`', "no such field: no_such"),
    ],
)
def test_a_wrong_name_of_every_kind_is_found(text: str, found: str) -> None:
    assert wrong_names(text) == [found]


def test_what_is_there_is_not_called_wrong() -> None:
    text = """`piano/stages.py`, `stages.py`, `docs/*.md`, `best.json`, `generator_epoch_N.pt`, `piano.stages`, `Game`,
    `Game.config`, `VariationalAttentionModel`, `torch.set_num_threads`, `ear_penalty`, `loss_weights.melody`, `tiny`,
    `doctor: off`, `--seed`, `musigan train --minutes 5 --set runtime.threads=1`, `several recordings in one file`,
    `musigan VERB --help`, `make demo`"""
    assert wrong_names(text) == []


@pytest.mark.parametrize("file", ["Makefile", "environment.yml", *SCRIPTS])
def test_every_command_of_the_set_up_exists_with_its_options(file: str) -> None:
    assert unknown_options(shown_commands((PROJECT / file).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("recipe", sorted((PROJECT / "runs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_settings_of_every_recipe_are_read_and_have_a_script(recipe: Path) -> None:
    config = load_config_from_yaml(recipe)
    assert config.ema == 0.999
    assert f"runs/{recipe.with_suffix('.sh').name}" in SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_recipe_is_a_script_that_stands_in_the_list_of_recipes(script: str) -> None:
    assert subprocess.run(["bash", "-n", PROJECT / script], check=False).returncode == 0
    assert f"`{Path(script).name}`" in (PROJECT / "runs" / "README.md").read_text(encoding="utf-8")


def test_every_score_of_the_recipes_has_a_row_with_its_licence() -> None:
    folder = PROJECT / "runs" / "scores"
    header, *rows = (line.split("\t") for line in (folder / "SOURCES.tsv").read_text(encoding="utf-8").splitlines())
    scores = {path.relative_to(folder).as_posix() for path in folder.rglob("*.mid")}
    assert {row[header.index("file")] for row in rows} == scores
    assert {re.sub(r"-[\d.]+$", "", row[header.index("licence")]) for row in rows} == {"Public Domain", "CC-BY"}


def test_the_readme_shows_every_verb() -> None:
    pieces = [piece for _, piece in code((PROJECT / "README.md").read_text(encoding="utf-8"))]
    assert {command.verb for piece in pieces for command in shown_commands(piece)} >= set(VERBS) - RETIRED


def test_the_tree_of_the_architecture_has_every_module_and_no_other() -> None:
    text = (PROJECT / "docs/architecture.md").read_text(encoding="utf-8")
    tree = text[text.index("## The tree") : text.index("## Floors")]
    left = [re.split(r" {2,}", line.strip())[0] for line in tree.splitlines() if line.startswith("  ")]
    named = {word.rpartition("/")[2].removesuffix(".py") for line in left for word in re.split(r"[,;] ?", line)}
    modules = [path for path in files() if re.fullmatch(r"(piano|data_prep)/.*\.py", path) and "__init__" not in path]
    told = set(re.findall(r"[\w.]+", tree))
    missing = {Path(path).stem for path in modules} - {word.removesuffix(".py") for word in told}
    assert missing == set()
    names = {Path(path).stem for path in files()} | {Path(path).name for path in files()}
    assert {word for word in named if word and word not in names} == set()


def test_the_glossary_has_every_word_that_the_project_uses_in_its_own_way() -> None:
    text = (PROJECT / "docs/glossary.md").read_text(encoding="utf-8")
    rows = {word.strip() for row in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for word in row.split(",")}
    assert set(WORDS.split()) - rows == set()
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert "(docs/glossary.md)" in readme[: readme.index("## Your own music")]


def prose(text: str) -> list[str]:
    """The sentences of a document, cells of its tables included, without code and addresses."""
    text = re.sub(r"```.*?```", "\n\n", text, flags=re.DOTALL)
    text = re.sub(r"(?m)^ {4}.*$", "", text)
    text = re.sub(r"`[^`]*`", "X", re.sub(r"\]\([^)]*\)", "]", text))
    pieces = re.split(r"\n\s*\n|\n(?=- |\||[0-9]+\. |#)|\|", text)
    return [
        sentence
        for piece in pieces
        for sentence in re.split(r"(?<=[.!?:])[\"*)]* (?=[A-Z\"*(\[0-9])", " ".join(piece.split()))
    ]


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if name_of(path) not in AS_WRITTEN], ids=name_of)
def test_sentences_are_short_and_say_the_usual_words(document: Path) -> None:
    sentences = prose(document.read_text(encoding="utf-8"))
    assert [text for text in sentences if len(re.findall(r"[\w'-]+", text)) > MOST_WORDS] == []
    assert [text for text in sentences if UNUSUAL.search(text)] == []


def test_a_long_sentence_and_an_unusual_word_are_seen() -> None:
    assert len(max(prose("Short. A " + "word " * 50 + "\n\n| a | b. C |"), key=len).split()) == 51
    assert all(
        UNUSUAL.search(text) for text in ("a batch that is no number", "three hundredths of it", "the dearest part")
    )
    assert prose("Short `code here`. [Next](a.md) one.") == ["Short X.", "[Next] one."]


def test_examples_in_python_run(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(5):
        write_music(tmp_path / f"{seed}.wav", seed, 6.0)
    monkeypatch.chdir(tmp_path_factory.mktemp("current"))
    write_music(Path("fragment.mp3"), 9, 2.0)
    shutil.copytree(tmp_path, "real_music")
    shorter = {
        r"seconds=20\b": "seconds=1",
        r"seconds=10\.0": "seconds=2.0",
        "count=24": "count=5",
        "epochs=50": "epochs=1",
    }
    ran = []
    for document in DOCUMENTS:
        for language, block in code(document.read_text(encoding="utf-8")):
            if language != "python":
                continue
            for long, short in shorter.items():
                block = re.sub(long, short, block)
            block = block.replace(".training.images", ".training.images[:128]")
            known = {"folder": tmp_path, "generator": load_generator(Path("shipped")) if "generator" in block else None}
            exec(compile(block, str(document), "exec"), known)
            ran.append(name_of(document))
            if document.name == "README.md" and document.parent == PROJECT:
                assert known["sound"].shape == (known["player"].channels, known["player"].sample_rate)
                assert np.isfinite(known["more"]).all()
    assert {"README.md", "docs/ruler.md", "docs/python.md", "tutorial/README.md"} <= set(ran)


def test_the_python_document_shows_every_public_method_of_a_player() -> None:
    text = (PROJECT / "docs/python.md").read_text(encoding="utf-8")
    shown = "\n".join(block for language, block in code(text) if language == "python")
    public = {name for name in vars(Player) if not name.startswith("_")}
    assert {name for name in public if f"player.{name}" not in shown} == set()
    assert set(re.findall(r"found\.(\w+)", shown)) <= set(Evaluation._fields)
    rows = re.findall(r"^\| (`.+?`) \|", text[text.index("| field | what |") :], re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(rows)) == list(Evaluation._fields)
