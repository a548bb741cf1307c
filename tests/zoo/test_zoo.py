"""Every row of the zoo's table in docs/doctor.md holds: named within ten windows, cured where it says so."""

from pathlib import Path

import pytest
import torch

from tests.zoo.faults import FAULTS
from tests.zoo.table import SOON, Start, healthy, make_start, observe

ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in Path("docs/doctor.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("|")
]
TABLE = {row[0]: row for row in ROWS if row[0] in {fault.name for fault in FAULTS}}
SEEDS = [int(row[0].removeprefix("none, seed ")) for row in ROWS if row[0].startswith("none, seed ")]

LIKE_OTHERS = {"NaN in a weight", "judge's step not detached", "one song only"}
"""Named by rules that another fault tests too: with -m slow only."""


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Start:
    torch.set_num_threads(1)
    return make_start(tmp_path_factory.mktemp("start"))


@pytest.mark.parametrize(
    "fault",
    [pytest.param(f, marks=pytest.mark.slow if f.name in LIKE_OTHERS else ()) for f in FAULTS if f.name in TABLE],
    ids=lambda fault: fault.name,
)
def test_a_planted_fault_is_named_soon_and_cured_where_it_can_be(fault, start, tmp_path):
    case = observe(fault, start, tmp_path)
    said = [finding.name for finding in case.findings]
    assert case.is_named, f"{fault.expected} not named within {SOON} windows; said {said}; {case.ended}"
    assert (case.windows or SOON) <= int(TABLE[fault.name][3]), f"{fault.name}: named after {case.windows}"
    if TABLE[fault.name][4] == "yes":
        assert case.recovered, f"{fault.name}: {case.ended}"


def test_the_table_is_as_large_as_it_should_be():
    assert set(TABLE) == {fault.name for fault in FAULTS} and len(SEEDS) == 3
    assert sum(row[4] == "yes" for row in TABLE.values()) >= 6


@pytest.mark.parametrize("seed", [SEEDS[0], *(pytest.param(seed, marks=pytest.mark.slow) for seed in SEEDS[1:])])
def test_a_healthy_run_is_left_in_peace(seed, tmp_path):
    assert [finding.name for finding in healthy(seed, tmp_path)] == []
