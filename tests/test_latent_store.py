"""Latents on disk: the encoder's numbers, made once, never stale, and read without memory that grows."""

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from piano.foundation.errors import TrainingError
from piano.piano_pretrain import train_autoencoder
from piano.training.latent_store import (
    MANIFEST_NAME,
    LatentStore,
    StoreLayout,
    missing_shards,
    plan_store,
    shard_path,
    write_shard,
)
from piano.training.schedules import Step
from piano.training.training_run import TrainingRun
from tests.held_latents import every_latent
from tests.tiny_run import start_run, tiny_config, tonal_pairs

LAYOUT = StoreLayout(pairs=10, frames=6, latent_dim=3)
MADE_OF = {"encoder": "abc", "shape": [10, 2]}


def numbers(pairs: range) -> torch.Tensor:
    """Means that say which pair, frame and dimension they are."""
    frames, dims = torch.arange(LAYOUT.frames)[None, :, None], torch.arange(LAYOUT.latent_dim)
    return (torch.tensor(list(pairs))[:, None, None] * 8.0 + frames + dims / 4.0).float()


def made_store(folder: Path) -> LatentStore:
    layout = plan_store(folder, LAYOUT, MADE_OF)
    for shard in missing_shards(folder, layout):
        pairs = layout.pairs_of(shard)
        write_shard(folder, layout, shard, [numbers(range(pair, pair + 1)) for pair in pairs])
    return LatentStore(folder, layout)


def test_windows_are_what_was_written_whichever_shard_they_lie_in(tmp_path: Path) -> None:
    store = made_store(tmp_path)
    assert store.layout.shards == 3 and len(store) == 10
    items, offsets = torch.tensor([9, 0, 4, 9, 3]), torch.tensor([0, 2, 1, 2, 0])
    found = store.windows(items, offsets, 4)
    wanted = torch.stack([numbers(range(10))[item, at : at + 4] for item, at in zip(items, offsets, strict=True)])
    assert found.dtype == torch.float32 and torch.equal(found, wanted)
    assert np.load(shard_path(tmp_path, 2)).shape == (2, 6, 3)


def test_every_pair_is_in_one_shard_and_a_small_set_has_shards_for_many(tmp_path: Path) -> None:
    for pairs in (1, 4, 5, 255, 256, 1000, 10**7):
        layout = StoreLayout(pairs=pairs, frames=680, latent_dim=64)
        parts = [layout.pairs_of(shard) for shard in range(layout.shards)]
        assert parts[0].start == 0 and parts[-1].stop == pairs
        assert all(one.stop == other.start for one, other in itertools.pairwise(parts))
        assert layout.shards >= min(pairs // 8, 43) and layout.shard_pairs * 680 * 128 <= 2**27 + 4 * 680 * 128


def test_what_was_made_of_the_same_is_kept_and_what_was_not_goes(tmp_path: Path) -> None:
    made_store(tmp_path)
    other = LAYOUT._replace(stride=3, pairs=4)
    assert plan_store(tmp_path, other, MADE_OF) == LAYOUT  # every pair is better than every third
    assert missing_shards(tmp_path, LAYOUT) == []
    assert plan_store(tmp_path, other, MADE_OF | {"encoder": "abd"}) == other
    assert missing_shards(tmp_path, other) == [0]


def test_an_old_shard_that_cannot_be_removed_never_passes_for_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_store(tmp_path)

    unlink = os.unlink

    def refuse(path: str | Path, **options: Any) -> None:
        if str(path).endswith(".npy"):
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(TrainingError, match="Permission denied"):
        plan_store(tmp_path, LAYOUT, MADE_OF | {"encoder": "abd"})
    monkeypatch.undo()
    assert plan_store(tmp_path, LAYOUT, MADE_OF | {"encoder": "abd"}) == LAYOUT
    assert missing_shards(tmp_path, LAYOUT) == list(range(LAYOUT.shards))


def test_a_folder_that_is_a_link_is_emptied_and_stays_one(tmp_path: Path) -> None:
    (tmp_path / "large disk" / "old").mkdir(parents=True)
    (tmp_path / "latents").symlink_to(tmp_path / "large disk")
    made_store(tmp_path / "latents")
    other = LAYOUT._replace(pairs=4)
    assert plan_store(tmp_path / "latents", other, MADE_OF | {"encoder": "abd"}) == other
    assert [path.name for path in (tmp_path / "large disk").iterdir()] == [MANIFEST_NAME]


@pytest.mark.parametrize("text", ["", "[]", '{"version": 1}', '{"version": 1, "pairs": -1}', "[" * 10**5])
def test_a_damaged_manifest_makes_everything_anew(tmp_path: Path, text: str) -> None:
    made_store(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    assert plan_store(tmp_path, LAYOUT, MADE_OF) == LAYOUT
    assert missing_shards(tmp_path, LAYOUT) == [0, 1, 2]


def test_a_shard_that_is_damaged_is_made_again_and_the_others_stay(tmp_path: Path) -> None:
    made_store(tmp_path)
    before = {shard: shard_path(tmp_path, shard).stat().st_mtime_ns for shard in (0, 2)}
    path = shard_path(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:-1])
    assert missing_shards(tmp_path, LAYOUT) == [1]
    store = made_store(tmp_path)
    assert torch.equal(store.windows(torch.tensor([5]), torch.tensor([0]), 6), numbers(range(5, 6)))
    assert {shard: shard_path(tmp_path, shard).stat().st_mtime_ns for shard in (0, 2)} == before


def test_a_shard_that_is_cut_off_or_goes_while_it_is_read_is_told(tmp_path: Path) -> None:
    store = made_store(tmp_path)
    with shard_path(tmp_path, 0).open("r+b") as stream:
        stream.truncate(140)
    with pytest.raises(TrainingError, match=r"latents-00000\.npy were cut off while they were read\. Go on with --res"):
        store.windows(torch.tensor([3]), torch.tensor([0]), 6)
    shard_path(tmp_path, 1).unlink()
    with pytest.raises(TrainingError, match=r"cannot read the latents in .*latents-00001\.npy: No such file"):
        store.windows(torch.tensor([4]), torch.tensor([0]), 6)


def test_a_disk_without_room_is_told_before_anything_is_encoded(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has room for [\d,]+ MB, and the latents of the music need [\d,]+ MB mo"):
        plan_store(tmp_path / "latents", StoreLayout(pairs=10**12, frames=1000, latent_dim=64), MADE_OF)
    assert not (tmp_path / "latents" / "manifest.json").exists()


def test_numbers_that_are_none_or_too_large_are_not_written(tmp_path: Path) -> None:
    layout = plan_store(tmp_path, LAYOUT, MADE_OF)
    for bad in (float("nan"), 1e6):
        with pytest.raises(TrainingError, match="the encoder diverged"):
            write_shard(tmp_path, layout, 0, [torch.full((4, 6, 3), bad)])
    assert missing_shards(tmp_path, layout) == [0, 1, 2]


def test_a_thousand_hours_take_no_memory(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    layout = StoreLayout(pairs=360_000, frames=430, latent_dim=64)  # pairs of 20 s, each second twice
    whole = shard_path(tmp_path, 0)
    write_shard(tmp_path, StoreLayout(4, 430, 64), 0, [torch.zeros(4, 430, 64)])
    header = whole.read_bytes()[:128]
    for shard in range(layout.shards):
        count = len(layout.pairs_of(shard))
        with shard_path(tmp_path, shard).open("wb") as stream:  # made up: a header, and a hole
            stream.write(header.replace(b"(4, 430, 64), }", b"(%d, 430, 64), }" % count)[:127] + b"\n")
            stream.truncate(128 + 2 * count * 430 * 64)
    store = LatentStore(tmp_path, layout)
    store.windows(torch.zeros(8, dtype=torch.long), torch.zeros(8, dtype=torch.long), 128)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    random = torch.Generator().manual_seed(0)
    for _ in range(20):
        items = torch.randint(len(store), (32,), generator=random)
        assert not store.windows(items, torch.randint(300, (32,), generator=random), 128).any()
    assert layout.bytes > 19e9
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # kilobytes


# --- in a run ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path: Path) -> TrainingRun:
    """A run whose encoder has learned, and whose latents lie on the disk."""
    run = start_run(tiny_config(tmp_path))
    train_autoencoder(run)
    run.save()
    return run


def write_times(run: TrainingRun) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (run.data.folder / "training").glob("*.npy")}


def test_latents_are_the_encoders_whitened_and_rounded_by_less_than_a_thousandth(trained: TrainingRun) -> None:
    data, generator = trained.data, trained.generator
    waveforms = torch.stack([data.sets["training"][item] for item in range(6)])
    with torch.no_grad():
        exact = generator.encode(waveforms)[:, : data.latents("training").frames]
    torch.testing.assert_close(every_latent(trained), exact, rtol=2e-3, atol=4e-3)
    step = Step((0, "test"), 3, 0.0)
    whole = data.draw_latents(step, 8, 16)
    parts = [data.draw_latents(step, 8, 16, part=slice(begin, begin + 2)) for begin in (0, 2, 4, 6)]
    assert torch.equal(torch.cat(parts), whole)
    before = data.draw_latents(step, 8, 16, part=slice(-1, 0))
    assert torch.equal(before, whole[-1:])


def test_crops_of_a_part_are_those_of_the_whole_batch(trained: TrainingRun) -> None:
    step = Step((0, "test"), 5, 0.0)
    whole = trained.data.draw_waveforms(step, 8, 16)
    parts = [trained.data.draw_waveforms(step, 8, 16, part=slice(begin, begin + 4)) for begin in (0, 4)]
    assert torch.equal(torch.cat(parts), whole)


def test_a_resumed_run_reads_what_it_wrote_and_the_latents_are_the_same(trained: TrainingRun) -> None:
    before, latents = write_times(trained), every_latent(trained)
    again = start_run(trained.config)
    again.resume()
    again.generator.load_state_dict(trained.generator.state_dict())
    assert torch.equal(every_latent(again), latents)
    assert write_times(again) == before and len(before) == 2


def test_latents_of_another_encoder_or_other_music_are_never_read(trained: TrainingRun) -> None:
    before, latents = write_times(trained), every_latent(trained)
    with torch.no_grad():
        next(trained.generator.autoencoder.encoder.parameters()).mul_(1.01)
    trained.data.forget_latents()
    assert not torch.equal(every_latent(trained), latents)
    between = write_times(trained)
    assert all(between[name] > time for name, time in before.items())
    other = start_run(trained.config, pairs=tonal_pairs(seed=5))
    other.generator.load_state_dict(trained.generator.state_dict())
    every_latent(other)
    assert all(time > between[name] for name, time in write_times(other).items())


def test_a_decoder_that_learned_changes_no_latents(trained: TrainingRun) -> None:
    every_latent(trained)
    before = write_times(trained)
    with torch.no_grad():
        next(trained.generator.autoencoder.decoder.parameters()).mul_(1.01)
    trained.data.forget_latents()
    every_latent(trained)
    assert write_times(trained) == before


def test_encoding_that_was_cut_short_goes_on_with_what_is_missing(trained: TrainingRun) -> None:
    latents, before = every_latent(trained), write_times(trained)
    shard_path(trained.data.folder / "training", 1).unlink()
    trained.data.forget_latents()
    assert torch.equal(every_latent(trained), latents)
    after = write_times(trained)
    assert after["latents-00000.npy"] == before["latents-00000.npy"]
    assert after["latents-00001.npy"] > before["latents-00001.npy"]


def test_a_finished_run_keeps_no_latents(trained: TrainingRun) -> None:
    every_latent(trained)
    assert trained.data.folder.is_dir()
    trained.data.remove_latents()
    assert not trained.data.folder.exists()
