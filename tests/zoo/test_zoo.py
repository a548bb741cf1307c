"""Planted faults are named within ten windows, most are cured, and healthy runs are left in peace."""

import pytest
import torch

from tests.zoo.faults import FAULTS
from tests.zoo.table import HEALTHY_SEEDS, SOON, Case, Start, healthy, make_start, observe

CURABLE = {fault.name for fault in FAULTS if fault.is_well is not None}


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Start:
    torch.set_num_threads(1)
    return make_start(tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_named_soon(fault, start, tmp_path, cases):
    case = cases[fault.name] = observe(fault, start, tmp_path)
    said = [finding.name for finding in case.findings]
    assert case.is_named, f"{fault.expected} not named within {SOON} windows; said {said}; {case.ended}"


def test_at_least_six_faults_are_cured(cases):
    if len(cases) < len(FAULTS):
        pytest.skip("not all faults were planted in this session")
    assert sum(cases[name].recovered is True for name in CURABLE) >= 6


@pytest.mark.parametrize("seed", HEALTHY_SEEDS)
def test_a_healthy_run_is_left_in_peace(seed, start, tmp_path):
    assert [finding.name for finding in healthy(seed, start, tmp_path)] == []
