"""Options that several commands have are written once."""

import argparse
import ast
from pathlib import Path

import pytest

from piano.foundation.options import SHARED, add_shared

PROJECT = Path(__file__).resolve().parent.parent

WRITTEN_OUT = {
    ("piano/evaluate.py", "--checkpoints"),  # one of two of which one must be given
    ("piano/report/listen_page.py", "--checkpoints"),
    ("piano/report/report.py", "--overwrite"),
}
"""Files that write such an option out, and which."""


def test_a_shared_option_comes_from_the_table() -> None:
    found = set()
    for path in [path for room in ("piano", "data_prep") for path in (PROJECT / room).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("add", "add_argument"):
                words = [word.value for word in node.args if isinstance(word, ast.Constant)]
                found |= {(path.relative_to(PROJECT).as_posix(), word) for word in words if word in SHARED}
    assert found == WRITTEN_OUT


def test_a_command_says_otherwise_what_it_means_otherwise() -> None:
    parser = argparse.ArgumentParser()
    add_shared(parser, "--epoch", "--steps", "--device")
    add_shared(parser, "--count", default=8, help="how many samples (default: %(default)s)")
    assert vars(parser.parse_args([])) == {"epoch": "best", "steps": "auto", "device": "auto", "count": 8}
    assert "how many samples (default: 8)" in parser.format_help()
    assert SHARED["--count"]["default"] == 48
    for wrong in (["--count", "0"], ["--steps", "many"], ["--device", "abacus"], ["--epoch", "-1"]):
        with pytest.raises(SystemExit, match="2"):
            parser.parse_args(wrong)
