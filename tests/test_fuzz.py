"""The fuzzing commands of benchmarks/, in a short form: what they check holds, and they can fail."""

import random

import fuzz_sounds
import numpy as np
import pytest
from fuzz_sounds import Mutant, fuzz, healthy_files, make_mutants, prepare_batch


def test_mutated_sounds_are_read_or_refused(capsys) -> None:
    assert fuzz(12, 20_261_128, workers=2) == 0
    assert "does not hold: nothing" in capsys.readouterr().out


def test_mutations_follow_the_seed_and_change_the_file() -> None:

    healthy = healthy_files(random.Random(0))
    first, second, other = (make_mutants(healthy, 30, random.Random(seed)) for seed in (1, 1, 2))
    assert first == second != other
    untouched = set(healthy.values())
    assert sum(mutant.data not in untouched for mutant in first) >= 28


def test_a_song_that_is_lost_is_noticed(tmp_path, monkeypatch) -> None:

    healthy = dict(list(healthy_files(random.Random(0)).items())[:1])
    monkeypatch.setattr(fuzz_sounds, "SECONDS", 60.0)  # the songs are shorter than they should be now
    wrong = prepare_batch([Mutant("m.wav", "random", np.random.default_rng(0).bytes(3000))], healthy, tmp_path, 1)
    assert len(wrong) == 1 and wrong[0].startswith("lost: healthy_")


def test_an_endless_file_is_noticed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fuzz_sounds, "LIMIT_SECONDS", 0.05)
    assert prepare_batch([], {}, tmp_path, 1)[0].startswith("endless")


@pytest.mark.parametrize("kind", sorted(fuzz_sounds.MUTATIONS))
def test_every_mutation_works_on_the_smallest_file(kind: str) -> None:

    for seed in range(50):
        assert isinstance(fuzz_sounds.MUTATIONS[kind](b"\x01", random.Random(seed)), bytes)
