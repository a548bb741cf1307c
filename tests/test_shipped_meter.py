"""The end of a run says where the shipped model is nearer to its music, in its own form, or that there was no time."""

import pytest

from piano.foundation.checkpoint_format import Best
from piano.foundation.music_amount import LEAST_SECONDS, VARIED_SECONDS, amount_words
from piano.foundation.run_log import read_history
from piano.foundation.shipped_format import shipped_path, write_shipped
from piano.piano_model import AudioDataset, VariationalAttentionModel
from piano.watching.run_ruler import RunRuler
from piano.watching.shipped_meter import SHIPPED_EVENT, last_shipped, measure_shipped
from tests.tiny_run import SAMPLE_RATE, start_run, tiny_config, tonal_pairs


def test_a_nearer_model_of_another_form_is_named_with_both_figures(tmp_path, capsys):
    run = start_run(tiny_config(tmp_path / "run"))
    ruler = RunRuler(AudioDataset(tonal_pairs(8, seed=8), labels=list("abcdefgh")), SAMPLE_RATE, most_clips=8)
    other = VariationalAttentionModel(**(run.config.model.model_dump() | {"sample_rate": 16_000, "sound_channels": 2}))
    keywords = run.config.model.model_dump() | {"sample_rate": 16_000, "sound_channels": 2}
    path = shipped_path(tmp_path / "given", "generator")
    write_shipped(path, "generator", epoch=1, keywords=keywords, state=other.state_dict())

    def told(own: float, seconds: float) -> tuple[str, dict]:
        run.best = Best(1, own, 1, "flow", own)
        said = measure_shipped(run, ruler, folder=tmp_path / "given", seconds=seconds)
        history = read_history(tmp_path / "run")
        assert last_shipped(history) == said
        return said, [line for line in history if line.get("event") == SHIPPED_EVENT][-1]

    worse, line = told(-1.0, 600.0)
    assert worse == ""
    assert line["clips"] == 8
    score = line["kernel_score"]
    nearer, line = told(score + 0.1, 600.0)
    assert f"kernel score {score:.2f} against {score + 0.1:.2f}" in nearer
    assert line["kernel_score"] == pytest.approx(score)
    unknown, line = told(score + 0.1, 1.0)
    assert "there was no time" in unknown and "compare" in unknown
    assert "kernel_score" not in line


def test_a_run_without_a_score_is_not_held_against_anything(tmp_path):
    run = start_run(tiny_config(tmp_path))
    assert measure_shipped(run, None) == ""
    assert last_shipped(read_history(tmp_path)) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1.0, "1 second of"),
        (LEAST_SECONDS - 1.0, "too little"),
        (LEAST_SECONDS, "There are 3.0 minutes of music to learn from: what is made will mostly repeat"),
        (VARIED_SECONDS - 1.0, "mostly repeat"),
    ],
)
def test_little_music_is_said(seconds, words):
    assert words in amount_words(seconds)
    assert amount_words(VARIED_SECONDS) == ""
