"""A folder as a run leaves it, with tones for music, for tests of the report."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from make_audio import tone
from tiny_run import tiny_config

from piano.config_reader import dump_config
from piano.evaluation.bootstrap import Figure
from piano.evaluation.ruler import Described, GeneratorScore, Ruler, Scores
from piano.evaluation.score_table import score_json
from piano.evaluation.set_scores import SetScores
from piano.foundation.audio_io import write_audio
from piano.foundation.dataset_format import DatasetManifest, set_path, write_manifest
from piano.foundation.made_files import write_json
from piano.report import report

RATE = 16_000
DATASET_RATE = 8_000
SEGMENT_SECONDS = 3.0


STAGES = ((1, "autoencoder", "reconstruction", "beta"), (2, "professor", "professor_loss", "a/<b>"))
"""Of the log: epoch, name, a number that falls, a number that rises."""


def make_music(folder: Path) -> Path:
    """What generate_music writes: two pieces, a continuation with its whole, a reconstruction."""
    write_audio(folder / "sample_0000.wav", tone(440, 2.0), RATE)
    write_audio(folder / "sample_0001.wav", tone(880, 2.0), RATE)
    write_audio(folder / "sample_0000.full.wav", tone(220, 5.0), RATE)
    write_audio(folder / "sample_0000.continuation.wav", tone(220, 2.0), RATE)
    write_audio(folder / "A & <B>.reconstruction.wav", tone(330, 1.5), RATE)
    return folder


def make_log() -> list[dict[str, Any]]:
    """Steps of two stages, two gates and a finding."""
    steps = [
        {
            "stage": stage,
            "step": step,
            "epoch": epoch,
            "total_step": step,
            "seconds": 60.0 * (step + 10 * (epoch - 1)),
            "learning_rate": {name: 0.001},
            name: 2.0 - step / 10,
            other: float(step),
        }
        for epoch, stage, name, other in STAGES
        for step in range(10)
    ]
    gates: list[dict[str, Any]] = [
        {
            "event": "gate",
            "stage": "autoencoder",
            "epoch": 1,
            "seconds": 540.0,
            "total_step": 9,
            "name": "G1 copies",
            "passed": True,
            "d": 0.25,
        },
        {
            "event": "gate",
            "stage": "professor",
            "epoch": 2,
            "seconds": 1140.0,
            "total_step": 9,
            "name": "G5",
            "passed": False,
            "advice": "train longer",
        },
    ]
    finding = {
        "event": "finding",
        "name": "d_overpowering",
        "severity": "warning",
        "sentence": "D sees through <everything>.",
        "signal": "dn",
        "value": 0.05,
        "threshold": 0.1,
        "advice": "slow D down",
        "remedy": "D learning rate halved",
        "stage": "professor",
        "epoch": 2,
        "total_step": 15,
        "seconds": 900.0,
    }
    return steps + gates + [finding]


def make_scores() -> dict[str, Any]:
    """scores.json as evaluate.py writes it, with figures of our own."""

    def sets(kernel_score: float) -> SetScores:
        return SetScores(
            *(Figure(value, value - 0.02, value + 0.02) for value in (kernel_score, 0.5, 0.4, 0.9, 0.7, 0.1))
        )

    def described(mean: float) -> Described:
        return Described(Figure(mean, mean - 0.1, mean + 0.1), mean, 1.0, 2.0, 1.5, 9.0, 0.8)

    samples = Scores(
        sets(0.123), {"polyphony": described(1.2), "onset_rate": described(5.0)}, {"timbre": 0.2}, np.zeros((1, 350))
    )
    nothing, scale = np.zeros((1, RATE)), {"other real music": sets(0.01), "white noise": sets(1.1)}
    reference: Any = SimpleNamespace(reason="")  # only scoring asks for more of it
    songs = [f"song {index}" for index in range(8)]
    ruler = Ruler(RATE, [nothing] * 8, list(songs), np.zeros((1, 1)), reference, {}, scale, {}, 0)
    return {"subject": "epoch 2"} | score_json(GeneratorScore(samples), ruler)


def make_dataset(folder: Path, *, songs: int = 6, held_out: int = 5) -> Path:
    """A data set of broken chords, every pair a song of its own."""
    folder.mkdir(parents=True)
    counts = {"training": songs, "validation": held_out}
    samples = round(SEGMENT_SECONDS * DATASET_RATE)
    random = np.random.default_rng(5)
    for split, count in counts.items():
        pairs = np.zeros((count, 2, 1, samples), dtype=np.float32)
        for pair in pairs:
            notes = [
                sum(
                    tone(110.0 * harmonic * 2 ** (random.integers(0, 36) / 12), 0.25, DATASET_RATE)
                    for harmonic in (1, 2)
                )
                for _ in range(round(8 * SEGMENT_SECONDS))
            ]
            pair[:] = 0.3 * np.concatenate(notes, axis=1).reshape(1, 2, samples).swapaxes(0, 1)
        np.save(set_path(folder, split), pairs)
    names = {split: tuple(f"{split} song {index}.mp3" for index in range(count)) for split, count in counts.items()}
    places = {split: tuple(range(count)) for split, count in counts.items()}
    write_manifest(
        folder,
        DatasetManifest(
            sample_rate=DATASET_RATE,
            channels=1,
            segment_samples=samples,
            seed=0,
            validation_fraction=0.25,
            pairs=counts,
            songs=names,
            groups=names,
            pair_songs=places,
            song_groups=places,
        ),
    )
    return folder


def make_run(folder: Path, *, epochs: int = 3) -> Path:
    """A run with everything but checkpoints; its music and its data set lie inside it."""
    for epoch in range(1, epochs + 1):
        for name, hertz in (("sample_0", 300.0), ("continuation", 500.0)):
            path = folder / "samples" / f"epoch_{epoch:04d}_{name}.wav"
            write_audio(path, tone(hertz + 10 * epoch, 1.0), RATE)
    make_music(folder / "music")
    dataset = make_dataset(folder / "dataset")
    config = tiny_config(folder, batch_size=8).model_copy(update={"dataset_folder": dataset})
    (folder / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    log = "".join(json.dumps(entry) + "\n" for entry in make_log())
    (folder / "metrics.jsonl").write_text(log, encoding="utf-8")
    (folder / "evaluation").mkdir()
    write_json(folder / "evaluation" / "scores.json", make_scores())
    return folder


def make_page(run: Path, *arguments: str) -> str:
    """The report of a run, of the music that lies in it unless told otherwise."""
    music = [] if "--music" in arguments or "--compose" in arguments else ["--music", str(run / "music")]
    options = report.parse_arguments([str(run), *music, *arguments])
    return report.build_page(report.find_sources(options.run, options), options)
