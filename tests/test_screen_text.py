"""What is put on a screen: commands that can be copied, tables as narrow as can be, one bar while music is made."""

import argparse
import importlib
import inspect
import io
import os
import shlex

import pytest
from tqdm import tqdm

from piano.foundation import sound_progress
from piano.foundation.doors import VERBS, train_first
from piano.foundation.screen_text import HelpFormatter, command_lines, for_screen, text_table


@pytest.mark.skipif(os.name != "posix", reason="other shells go on in a next line in other ways")
def test_a_broken_command_line_is_still_the_same_command() -> None:
    line = "musigan report demo/checkpoints --music 'my music' --real demo/music --scores demo/evaluation --open"
    broken = command_lines(line, 60)
    assert max(map(len, broken.splitlines())) <= 60
    assert len(broken.splitlines()) > 1
    assert shlex.split(broken.replace("\\\n", "")) == shlex.split(line)
    assert command_lines("musigan demo --open", 60) == "musigan demo --open"


def test_a_word_that_is_too_long_stays_whole() -> None:
    path = "a/" * 60
    assert path in command_lines(f"musigan generate --output {path}", 60).split()


def test_a_table_is_as_wide_as_its_cells() -> None:
    rows = [("", "mean", "band"), ("polyphony", "1.2", "1 to 9"), ("a", "10.25", "-")]
    assert text_table(rows, width=60).splitlines() == [
        "               mean     band",
        "  polyphony     1.2   1 to 9",
        "  a           10.25        -",
    ]
    assert max(map(len, text_table(rows, width=20).splitlines())) == 2 + 9 + 1 + 5 + 1 + 6


def test_help_wraps_its_paragraphs_and_keeps_its_examples(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    parser = argparse.ArgumentParser(
        prog="x",
        formatter_class=HelpFormatter,
        description="One word after the other. " * 5,
        epilog="examples:\n  x one    what it does, in more words than fit beside it on the line\n  x two",
    )
    lines = parser.format_help().splitlines()
    assert max(map(len, lines)) <= 60
    at = lines.index("examples:")
    assert lines[at + 1] == "  x one"
    assert lines[at + 2].startswith("      what it does")
    assert lines[-1] == "  x two"


def test_the_bar_shows_no_share_before_there_is_one(monkeypatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(
        sound_progress, "tqdm", lambda **words: tqdm(**(words | {"file": screen, "mininterval": 0, "position": 0}))
    )
    with sound_progress.Progress("sample", 100) as progress:
        progress.expect(2000)
        assert screen.getvalue() == ""
        progress.begin(1, 2)
        assert screen.getvalue().strip() == "sample 1 of 2: the first seconds of it ..."
        progress.update(1000)
        shown = screen.getvalue().split("\r")[-1]
        assert shown.startswith("sample 1 of 2  50%|")
        assert "| ," not in screen.getvalue() and " times real time, " in shown


def test_a_newcomer_is_told_the_way_from_the_beginning() -> None:
    told = train_first()
    places = [told.index(f"musigan {verb}") for verb in ("prepare", "dataset", "train")]
    assert places == sorted(places)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_long_sentences_are_broken_for_a_terminal_only(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    sentence = "Error: " + "a sentence of many words " * 20 + "/a/path" * 20
    lines = for_screen(sentence, Terminal()).split("\n")
    assert max(len(line) for line in lines[:-1]) <= 80 and " ".join(lines) == sentence
    assert for_screen(sentence, io.StringIO()) == sentence
    command = "  musigan train --checkpoints " + "a_long_name_" * 9
    assert for_screen(f"Go on with:\n{command}", Terminal()).split("\n")[1] == command


@pytest.mark.parametrize(
    ("verb", "arguments", "told"),
    [
        ("train", ["--minuts", "10"], "unrecognized arguments: --minuts 10. Did you mean --minutes?"),
        ("train", ["minutes=10"], "Did you mean --minutes?"),
        ("prepare", ["music", "--ouptut=x"], "Did you mean --output?"),
        ("generate", ["a song.mp3"], "A file is given with --prompt: --prompt 'a song.mp3'"),
        ("train", ["--zzz"], "unrecognized arguments: --zzz\n"),
    ],
)
def test_a_wrong_option_is_answered_with_the_one_that_is_meant(verb, arguments, told, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(VERBS[verb].module).main(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_every_verb_suggests_options() -> None:
    for verb in VERBS.values():
        module = importlib.import_module(verb.module)
        parses = getattr(module, "parse_arguments", None)  # some have their command line in a module of its own
        source = inspect.getsource(module if parses is None else inspect.getmodule(parses) or module)
        assert "CommandParser(" in source and "ArgumentParser(" not in source, verb.module
