"""Files that nobody should trust are refused with one sentence, and nothing in them is ever run."""

import time
from pathlib import Path

import pytest

from piano.foundation.screen_text import printable
from tests.hostile_files import FILES, MARK, NAMES, Refusal, refusals

MOST_LETTERS = 500


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[Refusal]:
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        began = time.monotonic()
        rows = list(refusals(folder))
        assert time.monotonic() - began < 300  # none of them keeps the program busy
        assert not list(folder.rglob(MARK))
    assert not Path(MARK).exists()
    return rows


@pytest.mark.parametrize("number", range(len(FILES) + len(NAMES)))
def test_a_hostile_file_is_refused_with_one_sentence(rows, number):
    row = rows[number]
    assert row.status == 2, row
    lines = row.said.splitlines()
    assert len(lines) == 1, row
    assert lines[0] == printable(lines[0])
    assert len(lines[0]) < MOST_LETTERS
    assert lines[0].startswith("Error: ")


def test_the_page_lists_every_one_of_them():
    page = (Path(__file__).parents[1] / "docs" / "hostile-files.md").read_text(encoding="utf-8")
    missing = [attack for _, attack, _ in FILES if f"| {attack} |" not in page]
    assert not missing
