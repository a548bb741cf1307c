"""The public MusiGAN's recipe against ours: the same music, the same minutes, the same threads, samples from noise.

    python benchmarks/peer_public_recipe.py --music ~/Music/piano --held-out ~/Music/other --minutes 10 --runs 3
    python benchmarks/peer_public_recipe.py --dataset dataset --held-out ~/Music/other --minutes 10 --format waveform
    python benchmarks/peer_public_recipe.py --dataset dataset --held-out ~/Music/other --checkpoints checkpoints

The recipe (networks, losses and wiring: peer_public_model.py) is trained for the minutes given and asked for as many
samples, of the same length, as there are held-out passages of real music; so is ours, `tiny`, with its default stages.
Measured is the kernel score of each set of samples: 0 is as near to the held-out music as other real music, 1 as far as
noise with its spectrum. Nothing is picked, all is levelled alike.

--format keys is what the public configuration learns: the loudness of 33 piano keys (B2 to G5) in every 20 ms, played
back by sines. --format waveform gives the same networks samples instead, as the rest of the description has it.

Made smaller than published, so that minutes on a CPU are enough for some steps: batches of 16 (waveform: 4) instead of
64, and no gradient accumulation instead of 16 batches, which gives it 64 times as many updates in the same time
(--batch 64 --accumulation 16 is as published); chunks as long as the samples (8 s) instead of 10 s; one channel
instead of two. The order is as published, in shares of the minutes: a fifth to pretrain the generator, a twenty-fifth
for the discriminator, the rest adversarial, two updates of the generator to one of the discriminator. Published faults
of wiring are kept (the discriminator is pretrained with the generator's optimiser, so it does not move; fakes are not
detached, so each network's gradient leaks into the other's next step); --mended mends these.
Each clock runs from the first step; decoding the music and finding its keys is outside of the budgets.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from peer_common import (
    Layout,
    PeerError,
    Plan,
    Reference,
    dated,
    gather,
    markdown_table,
    mean_and_spread,
    open_dataset,
    read_clips,
    say,
    train_ours,
    write_result,
)
from peer_public_model import (
    DECODER_STRIDE,
    INTERVAL_SECONDS,
    KEY_THRESHOLD,
    NOISE_SAMPLES,
    PublicDiscriminator,
    PublicGenerator,
    discriminator_loss,
    generator_loss,
    keys_of_sound,
    playable,
)
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW
from tqdm import tqdm

from piano.composer import Composer, Sampling
from piano.foundation.errors import run_command
from piano.generate_music import levelling_gain
from piano.piano_model import AudioDataset
from piano.utilities import load_generator
from piano.watching.run_ruler import SEED, compose_clips

OURS, THEIRS = "MusiGAN `tiny`", "public MusiGAN's recipe"
MEASURES = {"kernel_score": "kernel score", "kernel_distance": "kernel distance", "diversity": "diversity"}
PRETRAIN_SHARE, JUDGE_SHARE = 0.2, 0.04
LEARNING_RATE = 2e-4
REAL_NOISE = 0.05
REPORT_SECONDS = 15.0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    title, examples, *notes = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        description="\n\n".join([title, *notes]),
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--music", type=Path, help="folder of music to learn from (default: --dataset)")
    add("--dataset", type=Path, help="data set already made of it (default: made of --music in --output)")
    add("--held-out", type=Path, required=True, help="folder of other music, to compare with (required)")
    add("--checkpoints", type=Path, help="finished run of ours, of as many minutes (default: trained here)")
    add("--minutes", type=float, default=10.0, help="budget of each training (default: %(default)g)")
    add("--runs", type=int, default=1, help="seeds: 0, 1, ... (default: %(default)s)")
    add("--threads", type=int, default=2, help="CPU threads of both (default: %(default)s)")
    add("--sample-rate", type=int, default=16_000, help="of both, in Hz (default: %(default)s)")
    add("--format", choices=("keys", "waveform"), default="keys", help="the recipe learns (default: keys)")
    add("--batch", type=int, help="items of the recipe's batch, even (default: 16, waveform: 4)")
    add("--accumulation", type=int, default=1, help="batches of one of its updates (default: %(default)s)")
    add("--mended", action="store_true", help="mend the recipe's faults of wiring (default: as published)")
    add("--seconds", type=float, default=8.0, help="length of a sample (default: %(default)g)")
    add("--per-file", type=int, default=2, help="passages of a held-out file (default: %(default)s)")
    add("--files", type=int, help="only the first so many held-out files (default: all)")
    add("--chunks", type=int, help="only the first so many chunks, to try it out (default: all)")
    add("--output", type=Path, default=Path("peer_results/public"), help="folder of results (default: %(default)s)")
    options = parser.parse_args(argv)
    options.batch = options.batch or (16 if options.format == "keys" else 4)
    if options.minutes <= 0 or min(options.runs, options.threads, options.accumulation, options.per_file) < 1:
        parser.error("--minutes, --runs, --threads, --accumulation and --per-file must be positive")
    if options.batch < 2 or options.batch % 2:
        parser.error("--batch must be even: one of the losses compares even with odd items")
    if options.checkpoints and options.runs > 1:
        parser.error("--checkpoints names one run of ours: leave out --runs")
    return options


# --- the recipe's data -----------------------------------------------------------------------------------------------


def load_chunks(dataset: Path, options: argparse.Namespace) -> Tensor:
    """Chunks of the training set in the recipe's format (chunks, values), each of mean 0 and variance 1."""
    music = AudioDataset.from_folder(dataset, "training")
    samples = round(options.seconds * options.sample_rate)
    segments = [(index, half * (music.samples // 2)) for index in range(len(music)) for half in (0, 1)]
    is_keys = options.format == "keys"
    rows = []
    for index, offset in tqdm(segments[: options.chunks], desc="chunks", unit="chunk", leave=False):
        waveform = music.crop(index, offset, samples)[0]
        rows.append(keys_of_sound(waveform, options.sample_rate).flatten() if is_keys else waveform)
    chunks = torch.stack(rows)
    if is_keys:
        chunks = torch.where(chunks < KEY_THRESHOLD * chunks.max(), 0.0, chunks)
    mean, std = chunks.mean(dim=1, keepdim=True), chunks.std(dim=1, keepdim=True)
    return (chunks - mean) / (std + 1e-8)


# --- the recipe's training -------------------------------------------------------------------------------------------


class Networks(NamedTuple):
    """Both networks, each with its optimiser."""

    generator: PublicGenerator
    discriminator: PublicDiscriminator
    g_optimizer: AdamW
    d_optimizer: AdamW


def build_networks(values: int, options: argparse.Namespace) -> Networks:
    """The recipe's networks for outputs of so many values."""
    frames = -(-values // DECODER_STRIDE)
    if options.format == "keys":
        frames = round(options.seconds / INTERVAL_SECONDS)
    generator = PublicGenerator(values=values, latent_frames=frames)
    discriminator = PublicDiscriminator(values=values)
    optimizers = [
        AdamW(network.parameters(), lr=LEARNING_RATE, betas=(0.5, 0.999)) for network in (generator, discriminator)
    ]
    return Networks(generator, discriminator, *optimizers)


def train_recipe(chunks: Tensor, options: argparse.Namespace, *, seed: int) -> tuple[Networks, dict[str, Any]]:
    """Pretrain and train for the minutes given; the networks, and what was done."""
    torch.manual_seed(seed)
    networks = build_networks(chunks.shape[1], options)
    batches = draw_batches(chunks, options.batch, seed)
    steps = {"generator alone": 0, "discriminator alone": 0, "adversarial": 0}
    losses: dict[str, float] = {}
    begun, told, budget = time.monotonic(), 0.0, 60 * options.minutes
    while (seconds := time.monotonic() - begun) < budget:
        real = next(batches)
        if seconds < PRETRAIN_SHARE * budget:
            stage, losses = "generator alone", pretrain_generator_step(networks, real)
        elif seconds < (PRETRAIN_SHARE + JUDGE_SHARE) * budget:
            stage, losses = ("discriminator alone", pretrain_discriminator_step(networks, real, mended=options.mended))
        else:
            stage = "adversarial"
            is_due = (steps[stage] + 1) % options.accumulation == 0
            losses = adversarial_step(networks, real, options, is_due=is_due)
        steps[stage] += 1
        if seconds - told > REPORT_SECONDS:
            told = seconds
            shown = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
            say(f"recipe, {stage}, step {steps[stage]}: {shown}, {budget - seconds:.0f} s left")
    parameters = {
        name: sum(p.numel() for p in network.parameters())
        for name, network in (("generator", networks.generator), ("discriminator", networks.discriminator))
    }
    return networks, {"steps": steps, "losses": losses, "seconds": seconds, "parameters": parameters}


def draw_batches(chunks: Tensor, batch: int, seed: int) -> Iterator[Tensor]:
    """Shuffled batches (batch, 1, values), epoch after epoch."""
    if len(chunks) < batch:
        raise PeerError(f"the music gives {len(chunks)} chunks only: use a smaller --batch, or more music.")
    random = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(chunks), generator=random)
        for begin in range(0, len(order) - batch + 1, batch):
            yield chunks[order[begin : begin + batch]].unsqueeze(1)


def draw_noise(batch: int) -> Tensor:
    """White noise (batch, 1, samples) for the generator."""
    return torch.randn(batch, 1, NOISE_SAMPLES)


def pretrain_generator_step(networks: Networks, real: Tensor) -> dict[str, float]:
    """Regress what noise gives on a batch it has nothing to do with."""
    loss = functional.smooth_l1_loss(networks.generator(draw_noise(len(real))).fake, real)
    networks.g_optimizer.zero_grad()
    loss.backward()
    networks.g_optimizer.step()
    return {"regression": loss.item()}


def pretrain_discriminator_step(networks: Networks, real: Tensor, *, mended: bool) -> dict[str, float]:
    """Real against fake; as published with the generator's optimiser, so that gradients pile up and nothing moves."""
    optimizer = networks.d_optimizer if mended else networks.g_optimizer
    with torch.no_grad():
        fake = networks.generator(draw_noise(len(real))).fake
    real_logits, fake_logits = networks.discriminator(real), networks.discriminator(fake)
    bce = functional.binary_cross_entropy_with_logits
    loss = 0.5 * (bce(real_logits, torch.ones_like(real_logits)) + bce(fake_logits, torch.zeros_like(fake_logits)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return {"judge": loss.item()}


def adversarial_step(
    networks: Networks, real: Tensor, options: argparse.Namespace, *, is_due: bool
) -> dict[str, float]:
    """Two updates of the generator, one of the discriminator."""
    generator, discriminator, g_optimizer, d_optimizer = networks
    real = real + REAL_NOISE * torch.randn_like(real)
    g_loss = d_loss = torch.zeros(())
    for _ in range(2):
        draw = generator(draw_noise(len(real)))
        g_loss = generator_loss(draw, real, discriminator(draw.fake))
        (g_loss / options.accumulation).backward()
        if is_due:
            g_optimizer.step()
            g_optimizer.zero_grad()
            if options.mended:
                d_optimizer.zero_grad()
    fake = generator(draw_noise(len(real))).fake
    if options.mended:
        fake = fake.detach()
    d_loss = discriminator_loss(fake=fake, real=real, fake_logits=discriminator(fake), real_logits=discriminator(real))
    (d_loss / options.accumulation).backward()
    if is_due:
        d_optimizer.step()
        d_optimizer.zero_grad()
    return {"generator": g_loss.item(), "discriminator": d_loss.item()}


@torch.no_grad()
def recipe_samples(generator: PublicGenerator, count: int, options: argparse.Namespace) -> list[np.ndarray]:
    """Samples (1, samples) from noise, in the batches it was trained with: its output depends on the batch."""
    generator.eval()
    torch.manual_seed(1234)
    outputs: list[Tensor] = []
    while len(outputs) < count:
        outputs += list(generator(draw_noise(options.batch)).fake[:, 0])
    sounds = [playable(output, options.sample_rate, is_keys=options.format == "keys") for output in outputs]
    return [level(sound.unsqueeze(0).numpy()) for sound in sounds[:count]]


def level(sound: np.ndarray) -> np.ndarray:
    """A sound (channels, samples) at the level of prepared music."""
    return sound * levelling_gain(torch.from_numpy(sound))


# --- the comparison --------------------------------------------------------------------------------------------------


def our_samples(dataset: Path, count: int, options: argparse.Namespace, *, seed: int) -> list[np.ndarray]:
    """Samples (channels, samples) of our run, which is trained unless it was given, at its default steps."""
    checkpoints = options.checkpoints
    if checkpoints is None:
        checkpoints = options.output / f"ours_{seed}"
        settings = {"runtime.threads": options.threads, "runtime.device": "cpu"}
        train_ours(dataset, checkpoints, minutes=options.minutes, seed=seed, settings=settings)
    generator = load_generator(checkpoints, "latest")
    if (generator.sample_rate, generator.sound_channels) != (options.sample_rate, 1):
        raise PeerError(f"{checkpoints} makes other sound than {options.sample_rate} Hz mono: train one that does.")
    samples = round(options.seconds * options.sample_rate)
    return [level(sound) for sound in compose_clips(Composer(generator, Sampling(SEED)), count, samples)]


def compare(options: argparse.Namespace) -> None:
    """Train both for every seed, measure, tell."""
    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    dataset = open_dataset(options, options.output)
    say(f"reading held-out music from {options.held_out}")
    clips = read_clips(
        options.held_out, Layout(options.seconds, options.per_file, options.sample_rate), files=options.files
    )
    reference = Reference(clips, options.sample_rate)
    chunks = load_chunks(dataset, options)
    theirs = f"{THEIRS}, {options.format}{', mended' if options.mended else ''}"
    plan = Plan([options.minutes + 1, options.minutes + 0.5] * options.runs)
    results, notes = [], []
    for seed in range(options.runs):
        plan.next(f"run {seed + 1} of {options.runs}: ours")
        ours = our_samples(dataset, len(clips), options, seed=seed)
        plan.next(f"run {seed + 1} of {options.runs}: {theirs}")
        networks, note = train_recipe(chunks, options, seed=seed)
        sounds = recipe_samples(networks.generator, len(clips), options)
        results.append({OURS: reference.judge(ours), theirs: reference.judge(sounds)})
        notes.append(note)
        write_result(
            options.output / f"result_{options.format}{'_mended' * options.mended}.json",
            {
                "what": f"{options.minutes:g} minutes each, {options.threads} threads, {options.sample_rate} Hz mono",
                "options": vars(options),
                "clips": len(clips),
                "runs": results,
                "recipe": notes,
            },
        )
    ratios = [run[theirs]["kernel_score"] / max(run[OURS]["kernel_score"], 1e-3) for run in results]
    print(
        dated(
            f"{options.minutes:g} minutes each, {options.threads} threads, {len(clips)} samples of "
            f"{options.seconds:g} s, {options.runs} runs"
        )
    )
    print(markdown_table(gather(results), MEASURES))
    print(f"\nKernel score of the recipe over ours: {mean_and_spread(ratios)}")


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = parse_arguments(argv)
    return run_command(lambda: compare(options))


if __name__ == "__main__":
    sys.exit(main())
