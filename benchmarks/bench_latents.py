"""Latents on disk: memory and windows a second for one hour and for ten thousand, and what half precision costs.

    python benchmarks/bench_latents.py
    python benchmarks/bench_latents.py --learned      # also: does the flow learn as well from float16 as from float32?

One hour is written and read, and held in memory beside it, as training did before. The ten thousand hours are made up:
shards with a header and a hole, so that they take no room. Each is read in a process of its own, whose memory is told.
`--learned` trains a tiny flow on both kinds of number, and with two seeds for comparison.
"""

import argparse
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from piano.training import latent_store  # noqa: E402
from piano.training.latent_store import KIND, LatentStore, StoreLayout, shard_path, write_shard  # noqa: E402

FRAMES_PER_SECOND, LATENT_DIM = 21.5, 48
PAIR_SECONDS = 20.0
BATCH, WINDOW = 32, 128
HEADER_BYTES = 128


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10_000.0, help="of the made-up set (default: 10000)")
    parser.add_argument("--learned", action="store_true", help="train on both kinds of number (default: do not)")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        small, large = Path(name) / "small", Path(name) / "large"
        write(small, layout_of(1.0))
        make_up(large, layout_of(options.hours))
        measure_in_process("1 hour, in memory", hold, small, layout_of(1.0))
        measure_in_process("1 hour, on disk", read, small, layout_of(1.0))
        measure_in_process(f"{options.hours:,.0f} hours, on disk", read, large, layout_of(options.hours))
    if options.learned:
        compare_kinds()
    return 0


def layout_of(hours: float) -> StoreLayout:
    """Each second lies in two pairs."""
    pairs = round(2.0 * 3600.0 * hours / PAIR_SECONDS)
    return StoreLayout(pairs=pairs, frames=round(FRAMES_PER_SECOND * PAIR_SECONDS), latent_dim=LATENT_DIM)


def write(folder: Path, layout: StoreLayout) -> None:
    """Random latents."""
    folder.mkdir()
    random, began = torch.Generator().manual_seed(0), time.monotonic()
    for shard in range(layout.shards):
        shape = len(layout.pairs_of(shard)), layout.frames, layout.latent_dim
        write_shard(folder, layout, shard, [torch.randn(*shape, generator=random)])
    print(f"written: {layout.bytes / 1e6:.0f} MB in {time.monotonic() - began:.1f} s")


def make_up(folder: Path, layout: StoreLayout) -> None:
    """Shards of zeros that take no room."""
    folder.mkdir()
    for shard in range(layout.shards):
        header = np.lib.format.header_data_from_array_1_0(np.empty((0, layout.frames, layout.latent_dim), KIND))
        header["shape"] = (len(layout.pairs_of(shard)), layout.frames, layout.latent_dim)
        with shard_path(folder, shard).open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            stream.truncate(stream.tell() + KIND.itemsize * int(np.prod(header["shape"])))


def measure_in_process(
    words: str, body: Callable[[Path, StoreLayout], tuple[float, float]], folder: Path, layout: StoreLayout
) -> None:
    """Say what a way to read takes, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        opened, rate, grown = pool.apply(measured, (body, folder, layout))
    print(
        f"{words}: {layout.bytes / 1e9:.3f} GB in {layout.shards} shards, opened in {opened:.2f} s, "
        f"memory {grown:+.0f} MB, {rate:,.0f} windows/s"
    )


def measured(
    body: Callable[[Path, StoreLayout], tuple[float, float]], folder: Path, layout: StoreLayout
) -> tuple[float, float, float]:
    """Seconds to open, windows a second, and by how many megabytes this process has grown."""
    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    opened, rate = body(folder, layout)
    return opened, rate, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3


def read(folder: Path, layout: StoreLayout) -> tuple[float, float]:
    """From the disk."""
    began = time.monotonic()
    store = LatentStore(folder, layout)
    return time.monotonic() - began, windows_per_second(store.windows, layout)


def hold(folder: Path, layout: StoreLayout) -> tuple[float, float]:
    """All in memory, as float32."""
    began = time.monotonic()
    arrays = [np.load(shard_path(folder, shard)).astype(np.float32) for shard in range(layout.shards)]
    held = torch.from_numpy(np.concatenate(arrays))

    def windows(items: torch.Tensor, offsets: torch.Tensor, frames: int) -> torch.Tensor:
        return held[items.unsqueeze(1), offsets.unsqueeze(1) + torch.arange(frames)]

    return time.monotonic() - began, windows_per_second(windows, layout)


def windows_per_second(
    windows: Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor], layout: StoreLayout, *, seconds: float = 3.0
) -> float:
    """The median over batches of random windows."""
    random, times = torch.Generator().manual_seed(1), []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        items = torch.randint(layout.pairs, (BATCH,), generator=random)
        offsets = torch.randint(layout.frames - WINDOW + 1, (BATCH,), generator=random)
        began = time.perf_counter()
        windows(items, offsets, WINDOW)
        times.append(time.perf_counter() - began)
    return BATCH / statistics.median(times)


def compare_kinds() -> None:
    """Validation loss of a tiny flow that learned from float16 and from float32."""
    from piano.piano_pretrain import train_autoencoder, train_flow
    from piano.watching.validation import validation_losses
    from tests.tiny_run import On, start_run, tiny_config, tonal_pairs

    for seed in (0, 1):
        losses = {}
        for kind in (np.float16, np.float32):
            latent_store.KIND = np.dtype(kind)
            with tempfile.TemporaryDirectory() as folder:
                config = tiny_config(Path(folder), seed=seed, pretrain_epochs_g=40, steps_per_epoch=10)
                run = start_run(config, pairs=tonal_pairs(40))
                run.watch(On(after_stage=lambda run, stage: run.measured.update(validation_losses(run))))
                train_autoencoder(run)
                train_flow(run)
                losses[np.dtype(kind).name] = run.measured["validation_loss"]
        print(f"seed {seed}: validation loss of the flow " + ", ".join(f"{k} {v:.5f}" for k, v in losses.items()))
    latent_store.KIND = np.dtype(np.float16)


if __name__ == "__main__":
    raise SystemExit(main())
