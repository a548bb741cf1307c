"""evaluate: figures, table and pictures of a tiny generator and of folders; what goes wrong is one sentence."""

import hashlib
import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from data_prep.create_dataset import create_dataset
from data_prep.prepare_dataset import main as prepare
from piano.composer import Composer, Sampling
from piano.evaluate import main
from piano.evaluation.learned_songs import LearnedSongs, Overlap, find_overlap, learned_by_model, learned_from_folder
from piano.evaluation.measures import DESCRIPTORS, PAIR_MEASURES, SET_MEASURES
from piano.evaluation.music_folder import chained_pairs, clip_starts, read_excerpts, read_songs
from piano.evaluation.ruler import fit_ruler
from piano.evaluation.score_generator import compose_samples, score_generator
from piano.foundation.audio_io import write_audio
from piano.foundation.dataset_format import open_pairs
from piano.foundation.decode_log import NOT_FINITE
from piano.foundation.quantised import from_stored, to_stored
from piano.foundation.score_words import RULER_VERSION
from piano.piano_model import VariationalAttentionModel
from piano.report import report
from piano.report.scores import measured_words
from piano.training.known_music import key_of
from piano.vae_utilities import save_checkpoint
from tests.make_audio import make_music, write_music
from tests.tiny_run import SAMPLE_RATE, tiny_config, write_dataset

SONGS = 6
SHORT = ["--count", "6", "--seconds", "4.5", "--threads", "1"]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Music to learn from, other music, and an untrained generator."""
    folder = tmp_path_factory.mktemp("ruler")
    for index in range(SONGS):
        write_music(folder / "real" / f"disc {index % 2}" / f"real {index}.wav", index, 11.0, SAMPLE_RATE)
        write_music(folder / "train" / f"train {index}.wav", 100 + index, 8.0, SAMPLE_RATE)
    torch.manual_seed(0)
    generator = VariationalAttentionModel(**tiny_config(folder).model.model_dump())
    save_checkpoint(generator, 3, folder / "checkpoints", "generator")
    return folder


def scores(folder: Path) -> dict:
    return json.loads((folder / "scores.json").read_text())


def test_a_generator_is_measured_by_every_measure_and_an_untrained_one_is_far_from_music(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(
        [
            "--checkpoints",
            str(home / "checkpoints"),
            "--real",
            str(home / "real"),
            "--train",
            str(home / "train"),
            "--output",
            str(tmp_path),
            "--prompts",
            "4",
            *SHORT,
        ]
    )
    assert status == 0
    found = scores(tmp_path)
    for row in ("samples", "reconstructions", "other real music", "one song repeated", "white noise"):
        assert found["sets"][row].keys() == {measure.name for measure in SET_MEASURES}
        assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in found["sets"][row].values())
    assert found["sets"]["samples"]["kernel_score"]["low"] > 0.2
    assert found["sets"]["samples"]["coverage"]["value"] == 0.0
    applicable = {row.name for row in DESCRIPTORS} - {
        *("stereo_correlation", "side_to_mid", "stereo_coherence", "level_difference_spread"),
        *("self_similarity_4s", "self_similarity_8s"),
    }
    assert found["descriptors"].keys() == applicable
    assert not all(row["in_band"] for row in found["descriptors"].values())
    assert found["reconstructions"]["pairs"].keys() == {row.name for row in PAIR_MEASURES}
    assert found["continuations"]["agreement"].keys() == {"key", "tempo", "timbre"}
    assert found["memorisation"]["copied_share"] == 0.0
    assert {near["song"] for near in found["memorisation"]["nearest"]} <= {f"train {k}.wav" for k in range(SONGS)}
    screen = capsys.readouterr().out
    assert "epoch 3" in screen
    for word in ("SETS OF CLIPS", "SINGLE NUMBERS", "CONTINUATIONS", "RECONSTRUCTIONS", "MEMORISATION"):
        assert word in screen
    for name in ("scores.png", "samples.png", "kinds.png"):
        assert (tmp_path / name).stat().st_size > 5000
    assert not (tmp_path / "stereo.png").exists()  # one channel stands nowhere


def test_a_folder_of_copied_music_scores_like_music_and_every_copy_is_named(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = tmp_path / "copies"
    for index in range(SONGS):
        passage = 0.2 * make_music(100 + index, 8.0, SAMPLE_RATE)[:, 2 * SAMPLE_RATE : 7 * SAMPLE_RATE]
        write_audio(copies / f"made {index}.flac", passage, SAMPLE_RATE)
    status = main(
        [
            "--generated",
            str(copies),
            "--real",
            str(home / "real"),
            "--train",
            str(home / "train"),
            "--output",
            str(tmp_path),
            *SHORT,
        ]
    )
    assert status == 0
    found = scores(tmp_path)
    assert found["sets"]["samples"]["kernel_score"]["value"] < 0.2
    assert found["memorisation"]["copied_share"] == 1.0
    assert [near["song"] for near in found["memorisation"]["nearest"]] == [f"train {k}.wav" for k in range(SONGS)]
    assert found["continuations"] is None
    assert "COPY: train" in capsys.readouterr().out


def test_what_fine_tuning_did_is_told_of_two_models_with_a_clip_of_each(home: Path, tmp_path: Path, capsys) -> None:
    torch.manual_seed(1)
    other = VariationalAttentionModel(**tiny_config(home).model.model_dump())
    save_checkpoint(other, 1, tmp_path / "start", "generator")
    words = ["--checkpoints", str(home / "checkpoints"), "--before", str(tmp_path / "start"), "--real"]
    words += [str(home / "real"), "--output", str(tmp_path / "out"), "--prompts", "0", "--steps", "1", *SHORT]
    with pytest.raises(SystemExit):
        main(words)
    assert "--before is for --checkpoints, with --train" in capsys.readouterr().err
    assert main([*words, "--train", str(home / "train")]) == 0
    found = scores(tmp_path / "out")["effect"]
    assert found["verdict"] in ("moved", "not moved")  # of noise and noise
    assert found["copied"] == 0
    assert found["before"] != found["after"]
    assert found["sentence"] in " ".join(capsys.readouterr().out.split())
    for name in ("before", "after"):
        form = soundfile.info(tmp_path / f"out/effect/{name}.wav")
        assert (form.samplerate, form.frames) == (SAMPLE_RATE, round(4.5 * SAMPLE_RATE))


def test_the_same_seed_gives_the_same_scores(home: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        arguments = ["--generated", str(home / "train"), "--real", str(home / "real"), "--output"]
        assert main([*arguments, str(tmp_path / name), *SHORT]) == 0
    assert (tmp_path / "a" / "scores.json").read_text() == (tmp_path / "b" / "scores.json").read_text()


def test_several_seeds_are_measured_each_alone_and_their_mean_and_spread_are_kept(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--checkpoints", str(home / "checkpoints"), "--real", str(home / "real"), "--prompts", "0"]
    few = ["--count", "4", "--seconds", "2", "--threads", "1", "--steps", "1"]
    rough = ["--phase-iterations", "0"]
    for name, more in (("three", ["--seeds", "3"]), ("second", ["--seed", "1"]), ("rough", ["--seed", "1", *rough])):
        assert main([*arguments, *few, *more, "--output", str(tmp_path / name)]) == 0
    found, alone = scores(tmp_path / "three"), scores(tmp_path / "second")
    values = [seed["kernel_score"]["value"] for seed in found["seeds"]]
    figure = found["sets"]["samples"]["kernel_score"]
    assert len(values) == 3 and figure["value"] == pytest.approx(np.mean(values))
    assert figure["low"] <= min(values) <= max(values) <= figure["high"]
    assert alone["seeds"] is None
    assert scores(tmp_path / "rough")["sets"]["samples"]["kernel_score"] != alone["sets"]["samples"]["kernel_score"]
    assert values[1] == pytest.approx(alone["sets"]["samples"]["kernel_score"]["value"], abs=0.1)  # its own intervals
    assert found["set_clips"]["samples"] == 4 and found["ruler"] == RULER_VERSION
    screen = " ".join(capsys.readouterr().out.split())
    assert "1 steps, 16 phase iterations" in screen and "1 steps, 0 phase iterations" in screen
    assert "12 clips (3 seeds)" in screen and "the mean of 3 seeds" in screen and "samples, n 4" in screen
    with pytest.raises(SystemExit):
        main(["--generated", str(home / "train"), "--real", str(home / "real"), "--seeds", "2"])


def test_scores_of_an_earlier_ruler_are_told_from_these(home: Path, tmp_path: Path, capsys) -> None:
    arguments = ["--generated", str(home / "train"), "--real", str(home / "real"), "--output", str(tmp_path), *SHORT]
    assert main(arguments) == 0
    assert "another version of the ruler" not in capsys.readouterr().out
    earlier = scores(tmp_path)
    del earlier["ruler"]
    (tmp_path / "scores.json").write_text(json.dumps(earlier))
    assert "An earlier ruler measured it" in measured_words(earlier, None)
    assert main(arguments) == 0
    screen = " ".join(capsys.readouterr().out.split())
    assert f"another version of the ruler (1, now {RULER_VERSION}): they cannot be compared" in screen
    assert "earlier ruler" not in measured_words(scores(tmp_path), None)


def test_music_of_a_lower_rate_brings_the_generators_to_it(home: Path, tmp_path: Path, capsys) -> None:
    for index in range(4):
        write_music(tmp_path / "real" / f"{index}.wav", index, 9.0, 6_000)
    arguments = ["--checkpoints", str(home / "checkpoints"), "--real", str(tmp_path / "real"), "--prompts", "3"]
    few = ["--count", "4", "--seconds", "4", "--threads", "1", "--steps", "1", "--output", str(tmp_path / "out")]
    assert main([*arguments, *few]) == 0
    assert f"to be measured as 1 channel at {6_000} Hz" in " ".join(capsys.readouterr().out.split())
    found = scores(tmp_path / "out")
    assert found["real"]["sample_rate"] == 6_000
    assert found["reconstructions"] and found["continuations"]


def test_training_can_ask_for_a_few_figures_without_touching_weights_or_randomness(home: Path) -> None:
    excerpts = read_excerpts(home / "real", sample_rate=SAMPLE_RATE, channels=1, seconds=2.0, count=6)
    ruler = fit_ruler(excerpts.clips, excerpts.files, SAMPLE_RATE)
    generator = VariationalAttentionModel(**tiny_config(home).model.model_dump()).eval()
    before = [parameter.clone() for parameter in generator.parameters()]
    state = torch.get_rng_state()
    score, made = score_generator(Composer(generator, Sampling(steps=1)), ruler, count=4, reconstruct=False)
    assert len(made.samples) == 4 and made.samples[0].shape == excerpts.clips[0].shape
    assert score.reconstructions is score.continuations is score.memorisation is None
    assert score.samples.sets.kernel_score.value > 0.2
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(before, generator.parameters(), strict=True))


def test_the_samples_judged_are_those_that_generate_would_write(home: Path) -> None:
    generator = VariationalAttentionModel(**tiny_config(home).model.model_dump()).eval()
    judged = compose_samples(Composer(generator, Sampling(7, 2)), count=2, seconds=1.0)
    written = Composer(generator, Sampling(7, 2)).generate(1.0, count=2)
    np.testing.assert_array_equal(np.stack(judged), written.numpy())


# --- was it learned from?


def learned_checkpoint(folder: Path, **music: list[Path] | list[str]) -> Path:
    """An untrained generator that says it learned from these files and names."""
    torch.manual_seed(0)
    generator = VariationalAttentionModel(**tiny_config(folder).model.model_dump())
    keys = {
        "files": [key_of(hashlib.sha256(Path(path).read_bytes()).hexdigest()) for path in music.get("files", [])],
        "names": [key_of(str(name)) for name in music.get("names", [])],
    }
    state = {kind: torch.tensor(values, dtype=torch.int64) for kind, values in keys.items()}
    run = {"stateful": {"music": {"identity": "x", "sound": "y", **state}}}
    save_checkpoint(generator, 3, folder / "checkpoints", "generator", run=run)
    return folder / "checkpoints"


def test_real_music_that_was_learned_from_is_said_first_and_kept(home: Path, tmp_path: Path, capsys) -> None:
    songs = sorted((home / "real").rglob("*.wav"))
    lesson = tmp_path / "music" / "lesson.wav"
    write_music(lesson, 50, 19.0, SAMPLE_RATE)
    checkpoints = learned_checkpoint(tmp_path, files=[*songs[:5], lesson])
    renamed = tmp_path / "one"
    renamed.mkdir()
    shutil.copy(lesson, renamed / "other name.wav")
    for real, warned in ((home / "real", "learned from 5 of the 6 songs"), (renamed, "learned from the one song")):
        arguments = ["--checkpoints", str(checkpoints), "--real", str(real), "--train", str(home / "train")]
        output = tmp_path / real.name
        assert main([*arguments, "--prompts", "0", "--output", str(output), *SHORT]) == 0
        screen = " ".join(capsys.readouterr().out.split())
        found = scores(output)
        assert found["headline"].startswith("Warning: it ") and warned in found["headline"]
        assert found["warning"] and f"Warning: it {warned}" in screen
        assert screen.index("Warning: it") < screen.index("SETS OF CLIPS")
        assert "Cannot tell: 4 recordings never learned from are needed" in screen  # five of six are no yardstick
    assert found["real"]["learned_from"] == ["other name.wav"]


def test_songs_count_by_file_where_all_were_hashed_and_by_name_where_not(home: Path, tmp_path: Path) -> None:
    real = home / "real"
    songs = sorted(real.rglob("*.wav"))
    labels = [str(path.relative_to(real)) for path in songs]
    names = [path.relative_to(real).as_posix() for path in songs]
    keys = frozenset(map(key_of, names))
    assert find_overlap(real, labels, None) is None
    by_name = find_overlap(real, labels[:2], LearnedSongs(keys, frozenset()))
    assert by_name == Overlap(labels[:2], 2)
    other = frozenset(range(len(names)))  # hashes of other files under the same names
    assert find_overlap(real, labels, LearnedSongs(keys, other)) == Overlap([], len(labels))
    assert find_overlap(real, labels, learned_from_folder(real, real)) == Overlap(labels, len(labels))
    assert find_overlap(real, labels, learned_from_folder(home / "train", real)) == Overlap([], len(labels))


def test_a_run_of_an_earlier_version_knows_its_songs_by_dataset_json(tmp_path: Path) -> None:
    assert learned_by_model(tmp_path, {}) is None
    facts = {"identity": "abc", "songs": {"training": ["a.mp3"], "validation": ["b.mp3"]}}
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    assert learned_by_model(tmp_path, {"run": None}) == LearnedSongs(frozenset([key_of("a.mp3")]), frozenset(), "abc")


def test_validation_songs_of_a_data_set_were_not_learned_from_by_its_own_run(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "dataset")
    own = learned_from_folder(folder, folder)
    labels = ["validation pair 0", "validation pair 1"]
    assert find_overlap(folder, labels, own) == Overlap([], 2)
    swapped = own._replace(names=frozenset([key_of("validation.mp3")]))
    assert find_overlap(folder, labels, swapped) == Overlap(labels, 2)  # nobody knows which clip is of which song


def test_results_against_other_music_are_not_replaced(home: Path, tmp_path: Path, capsys) -> None:
    other = tmp_path / "other"
    shutil.copytree(home / "real", other)
    arguments = ["--generated", str(home / "train"), "--output", str(tmp_path / "out"), *SHORT]
    assert main([*arguments, "--real", str(home / "real")]) == 0
    before = (tmp_path / "out" / "scores.json").read_bytes()
    assert main([*arguments, "--real", str(other)]) == 2
    assert "holds other work (about train and real). Choose another place with --output" in capsys.readouterr().err
    assert (tmp_path / "out" / "scores.json").read_bytes() == before
    assert main([*arguments, "--real", str(home / "real")]) == 0  # the same measured again
    assert main([*arguments, "--real", str(other), "--overwrite"]) == 0


def test_the_report_measures_nothing_away_either(home: Path, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    shutil.copytree(home / "checkpoints", run)
    assert main(["--checkpoints", str(run), "--real", str(home / "real"), "--prompts", "0", *SHORT]) == 0
    before = (run / "evaluation" / "scores.json").read_bytes()
    capsys.readouterr()
    assert report.main([str(run), "--evaluate", "--real", str(home / "train"), "--compose", "0"]) == 2
    assert "Choose another place with --scores" in capsys.readouterr().err
    assert (run / "evaluation" / "scores.json").read_bytes() == before


# --- real music


def test_songs_of_a_data_set_are_put_together_again_from_their_scrambled_pairs(home: Path, tmp_path: Path) -> None:
    assert (
        prepare(
            [
                str(home / "real"),
                "--output",
                str(tmp_path / "prepared"),
                "--sample-rate",
                str(SAMPLE_RATE),
                "--channels",
                "1",
                "--min-seconds",
                "1",
            ]
        )
        == 0
    )
    create_dataset(tmp_path / "prepared", tmp_path / "dataset", segment_seconds=2.0, validation_fraction=0.3, seed=0)
    training = open_pairs(tmp_path / "dataset", "training")
    chains = chained_pairs(np.asarray(training))
    assert sorted(index for chain in chains for index in chain) == list(range(len(training)))
    assert {len(chain) for chain in chains} == {4}  # five segments of two seconds in eleven
    folder_songs = {
        from_stored(to_stored(song.waveform[:, : 10 * SAMPLE_RATE])).tobytes()
        for song in read_songs(home / "real", sample_rate=SAMPLE_RATE, channels=1)
    }
    for split in ("training", "validation"):
        for song in read_songs(tmp_path / "dataset", sample_rate=SAMPLE_RATE, channels=1, split=split):
            assert song.waveform.tobytes() in folder_songs


def test_clips_are_spread_over_songs_and_do_not_overlap(home: Path) -> None:
    excerpts = read_excerpts(home / "real", sample_rate=SAMPLE_RATE, channels=1, seconds=3.0, count=14)
    assert len(excerpts.clips) == 14
    assert sorted(excerpts.files.count(name) for name in set(excerpts.files)) == [2, 2, 2, 2, 3, 3]
    assert len(excerpts.stretches) == SONGS
    for total, count in ((100, 3), (30, 9), (31, 3), (9, 2)):
        starts = sorted(clip_starts(total, 10, count))
        assert all(b - a >= 10 for a, b in pairwise(starts))
        assert len(starts) == min(count, total // 10)
        assert all(0 <= start <= total - 10 for start in starts)


# --- what goes wrong


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--checkpoints", "nowhere", "--real", "real"], "Error: "),
        (["--checkpoints", "checkpoints", "--real", "nowhere"], "Error: there is no folder nowhere"),
        (["--checkpoints", "checkpoints", "--real", "checkpoints"], "Error: there is no music in checkpoints"),
        (["--checkpoints", "checkpoints", "--real", "real", "--seconds", "60"], "Error: no song in real lasts"),
        (["--checkpoints", "checkpoints", "--real", "real", "--epoch", "4"], "Error: "),
        (["--generated", "checkpoints", "--real", "real"], "Error: there is no music in checkpoints"),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    home: Path, monkeypatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(home)
    assert main(arguments) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(said)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--real", "real"],
        ["--checkpoints", "a", "--generated", "b", "--real", "real"],
        ["--checkpoints", "a", "--real", "real", "--count", "1"],
        ["--checkpoints", "a", "--real", "real", "--seconds", "1"],
        ["--checkpoints", "a", "--real", "real", "--seconds", "3", "--train", "b"],
        ["--checkpoints", "a", "--real", "real", "--steps", "none"],
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


def test_a_broken_file_among_the_music_is_left_out_and_named(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(home / "real", tmp_path / "real")
    (tmp_path / "real" / "broken.mp3").write_bytes(b"no music")
    holes = np.random.default_rng(0).normal(0.0, 0.1, 3 * SAMPLE_RATE)
    holes[::7] = np.nan
    soundfile.write(tmp_path / "real" / "holes.wav", holes, SAMPLE_RATE, "FLOAT")
    songs = list(read_songs(tmp_path / "real", sample_rate=SAMPLE_RATE, channels=1))
    assert len(songs) == SONGS + 1
    assert "broken.mp3" in caplog.text
    assert f"holes.wav: {NOT_FINITE}" in caplog.text and caplog.text.count(NOT_FINITE) == 1
