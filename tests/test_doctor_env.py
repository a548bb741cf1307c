"""doctor env: what this machine can train, and how that agrees with what the README promises."""

import pytest

from piano.checkup import env
from piano.checkup.env import ENOUGH_STEPS, PresetTime, short_run_text
from piano.config_reader import load_config_from_yaml


@pytest.mark.parametrize(
    ("steps", "told"), [(2500, "takes about 2,500 steps here"), (100, "takes about 100 steps here")]
)
def test_ten_minutes_are_told_in_steps_of_this_machine(steps: int, told: str) -> None:
    text = short_run_text([PresetTime("tiny", 8_000_000, 10_000, 9.0, 0.2, steps)])
    assert told in text and f"ten minutes of our figures took {ENOUGH_STEPS:,} and more" in text
    assert ("you can expect the same" in text) == (steps >= ENOUGH_STEPS)
    assert ("--from shipped" in text) == (steps < ENOUGH_STEPS)
    if steps < ENOUGH_STEPS:
        assert "For as many, give it 2.5 hours" in text


def test_the_table_fits_80_columns(monkeypatch) -> None:
    seconds, rates = {"autoencoder": 0.3, "flow": 0.2}, {True: 1e9, False: 1e9}
    monkeypatch.setattr(env, "measured_rates", lambda config: (seconds, rates))
    monkeypatch.setattr(env, "thread_seconds", lambda: {1: 0.03})
    lines = env.env_text(None).splitlines()
    assert lines[0].startswith("VERDICT  --preset tiny --minutes 10 takes about")
    assert [line for line in lines if len(line) > 80 and not line.startswith("disk")] == []


def test_steps_of_ten_minutes_follow_the_shares_and_the_rates() -> None:
    usual = env.preset_times(None, {True: 1e9, False: 1e9})[0]
    twice = env.preset_times(None, {True: 2e9, False: 2e9})[0]
    assert usual.name == "tiny" and twice.short_steps == pytest.approx(2 * usual.short_steps, abs=2)
    assert twice.hours == pytest.approx(0.5 * usual.hours)
    seconds, rates = env.measured_rates(load_config_from_yaml(preset="tiny"))
    assert set(seconds) == {"autoencoder", "flow"} and set(rates) == {True, False}
    assert all(value > 0.0 for value in (*seconds.values(), *rates.values()))
