"""doctor env: what this machine can train, and how that agrees with what the README promises."""

import pytest

from piano.doctor import env
from piano.doctor.env import ENOUGH_STEPS, PresetTime, short_run_text


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        (0.125, "takes about 10,000 steps here"),  # all of its epochs, and no more
        (0.5, "takes about 2,500 steps here"),
        (12.5, "takes about 100 steps here"),
    ],
)
def test_ten_minutes_are_told_in_steps_of_this_machine(hours: float, told: str) -> None:
    text = short_run_text([PresetTime("tiny", 8_000_000, 10_000, hours, 0.2)])
    assert told in text and f"README's ten minutes took {ENOUGH_STEPS:,} and more" in text
    assert ("you can expect the same" in text) == (hours <= 0.5)
    assert ("--from shipped" in text) == (hours > 0.5)
    if hours > 0.5:
        assert "For as many, give it 2.5 hours" in text


def test_the_table_fits_80_columns(monkeypatch) -> None:
    monkeypatch.setattr(env, "measured_rate", lambda config: (0.3, 1e9))
    monkeypatch.setattr(env, "thread_seconds", lambda: {1: 0.03})
    lines = env.env_text(None).splitlines()
    assert lines[0].startswith("VERDICT  --preset tiny --minutes 10 takes about")
    assert [line for line in lines if len(line) > 80 and not line.startswith("disk")] == []
