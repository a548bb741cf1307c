"""How every saved discriminator judges one generator's music, epoch by epoch, beside real music as a control."""

import argparse
import csv
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from piano.config_reader import load_config_from_yaml
from piano.discriminator import Discriminator_with_mdisc
from piano.evaluation.pictures import Chart, Line, chart_row, save_figure, styled_figure
from piano.foundation.audio_io import find_audio_files, read_audio
from piano.foundation.checkpoint_format import checkpoint_path, find_epoch, list_epochs, read_checkpoint
from piano.foundation.dataset_format import write_bytes, write_json
from piano.foundation.errors import CheckpointError, DatasetError, run_command
from piano.piano_model import AudioDataset, VariationalAttentionModel
from piano.utilities import load_discriminator, load_generator

CONFUSION = math.log(2.0)
FOOLED, STRICT = 0.35, 1.0
"""d_loss (label: real) below which a judge is fooled, and above which it is strict; log 2 is the confusion point."""
EXAMPLE = """examples:
  python check_discriminator.py --gen-ckpt 690
  python check_discriminator.py --all --checkpoints trial --output trial/check
"""


USELESS = 0.4
"""Mean probability of real music below which a judge is useless: its low opinion of fakes means nothing."""
STRICT_SHARE = 0.75
"""A judge is strict towards a generator when it ranks real music above its fakes in this share of pairs.

Ranks, not probabilities: a relativistic game leaves the scale of the logits free.
"""
MOST_LABELS, MOST_NUMBERS = 24, 200
FAMILIES = ("ear", "professor")


@dataclass(frozen=True)
class Verdict:
    """One discriminator on one generator's music, and on real music. Logits are the mean of ear and professor."""

    discriminator_epoch: int
    generator_epoch: int
    d_loss: float
    """Binary cross-entropy with the label real: log 2 undecided, high for music it calls fake."""
    probability: float
    logit: float
    real_d_loss: float
    real_probability: float
    real_logit: float
    told_apart: float
    """Chance that a real clip's logit lies above a fake's: 0.5 is guessing, whatever the logits' origin."""
    ear_told_apart: float
    """The same of the ear alone, which hears sound."""
    professor_told_apart: float
    """The same of the professor alone, which reads the composition."""
    trained_steps: int


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="check_discriminator.py",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--gen-ckpt", default="latest", help="the generator's epoch (default: latest)")
    parser.add_argument(
        "--all", action="store_true", help="every generator against every discriminator (default: off)"
    )
    parser.add_argument(
        "--config", type=Path, help="settings file (default: config.yaml here or beside the package)"
    )
    parser.add_argument("--checkpoints", type=Path, help="folder (default: the config's checkpoint_folder)")
    parser.add_argument(
        "--output", type=Path, help="folder (default: check_discriminator inside the checkpoints)"
    )
    parser.add_argument(
        "--real", type=Path, help="real music: a data set folder, or sound files (default: as trained)"
    )
    parser.add_argument("--count", type=int, default=16, help="fakes, and real clips (default: 16)")
    parser.add_argument(
        "--steps", default="auto", help="sampling steps of the fakes: a number or auto (default: auto)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the fakes (default: 0)")
    options = parser.parse_args(argv)
    if options.count < 2:
        parser.error("--count must be at least 2")
    if options.steps != "auto" and not (options.steps.isdigit() and int(options.steps) > 0):
        parser.error("--steps is a positive number or auto")
    return options


def main(argv: list[str] | None = None) -> int:
    """Judge, and write table, pictures and interpretation."""
    options = parse_arguments(argv)
    return run_command(lambda: check(options))


def check(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    folder = options.checkpoints or load_config_from_yaml(options.config).checkpoint_folder
    output = options.output or folder / "check_discriminator"
    judges = trained_judges(folder)
    newest = find_epoch(folder, "generator", "latest" if options.all else options.gen_ckpt)
    generators = list_epochs(folder, "generator") if options.all else [newest]
    real = real_clips(options, folder, load_generator(folder, newest))
    verdicts: list[Verdict] = []
    for epoch in tqdm(generators, desc="generators", unit="epoch", disable=len(generators) == 1):
        generator = load_generator(folder, epoch)
        verdicts += judge_generator(generator, epoch, judges, folder, real, options)
    output.mkdir(parents=True, exist_ok=True)
    write_table(verdicts, output)
    if options.all:
        print(matrix_text(verdicts))
        draw_matrix(verdicts, output / "matrix.png")
        text = interpret_matrix(verdicts)
    else:
        print(table_text(verdicts))
        draw_curve(verdicts, output / "curve.png")
        text = interpret(verdicts)
    write_bytes(output / "interpretation.txt", (text + "\n").encode())
    print(f"\n{text}\n\nWritten to {output}")


def trained_judges(folder: Path) -> list[int]:
    """Epochs whose discriminator has learned something; the ones before its first step are named and left out."""
    epochs = list_epochs(folder, "discriminator")
    if not epochs:
        raise CheckpointError(
            f"no discriminator checkpoint in {folder}. Train first (python piano/piano_main.py)."
        )
    steps = {
        epoch: int(
            read_checkpoint(checkpoint_path(folder, "discriminator", epoch), "discriminator")["model"][
                "trained_steps"
            ]
        )
        for epoch in epochs
    }
    trained = [epoch for epoch in epochs if steps[epoch]]
    if not trained:
        raise CheckpointError(
            f"no discriminator in {folder} has been trained yet: go on training (--resume)."
        )
    if len(trained) < len(epochs):
        untrained = [epoch for epoch in epochs if not steps[epoch]]
        print(f"Left out, their discriminator is not trained yet: epochs {untrained[0]} to {untrained[-1]}.")
    return trained


def real_clips(options: argparse.Namespace, folder: Path, generator: VariationalAttentionModel) -> Tensor:
    """Real music never trained on (clips, channels, samples), each as long as the attention's window."""
    samples = generator.latent_seq_len * generator.hop_samples
    source = options.real
    if source is None:
        written = folder / "config.yaml"
        source = load_config_from_yaml(written if written.is_file() else options.config).dataset_folder
    try:
        dataset = AudioDataset.from_folder(source, "validation")
    except DatasetError:
        if options.real is None:
            raise
        return clips_of_files(source, generator, samples, options.count)
    manifest = dataset.manifest
    if manifest is None or (manifest.sample_rate, manifest.channels) != (
        generator.sample_rate,
        generator.sound_channels,
    ):
        raise DatasetError(
            f"the data set in {source} has another rate or number of channels than the generator"
        )
    places = np.linspace(0, len(dataset) - 1, min(options.count, len(dataset))).round().astype(int)
    return torch.stack([dataset.crop(int(place), 0, samples) for place in places])


def clips_of_files(folder: Path, generator: VariationalAttentionModel, samples: int, count: int) -> Tensor:
    """The beginning of up to `count` sound files (clips, channels, samples), levelled like prepared music."""
    clips = []
    for path in find_audio_files(folder):
        sound = read_audio(
            path,
            sample_rate=generator.sample_rate,
            channels=generator.sound_channels,
            max_seconds=samples / generator.sample_rate,
        )
        if sound.shape[1] >= samples and len(clips) < count:
            rms = float(np.sqrt(np.mean(sound**2)))
            clips.append(
                torch.from_numpy(sound[:, :samples] * (10 ** (-18 / 20) / max(rms, 1e-6))).clamp(-1.0, 1.0)
            )
    if not clips:
        raise DatasetError(f"no sound file of at least {samples / generator.sample_rate:.1f} s in {folder}")
    return torch.stack(clips)


@torch.inference_mode()
def judge_generator(
    generator: VariationalAttentionModel,
    epoch: int,
    judges: list[int],
    folder: Path,
    real: Tensor,
    options: argparse.Namespace,
) -> list[Verdict]:
    """Every discriminator on this generator's fakes; one discriminator is in memory at a time."""
    fake_latents = generator.sample_latents(
        generator.latent_seq_len, count=options.count, seed=options.seed, steps=options.steps
    )
    decoded = cache(lambda: generator.decode(fake_latents))
    fakes = Items(fake_latents, generator.decode_spectrum(fake_latents), decoded)
    real_latents = generator.encode(real)
    reals = Items(real_latents, generator.autoencoder.analyse(real), lambda: real)
    verdicts = []
    for judge in tqdm(judges, desc=f"judging generator {epoch}", unit="judge", leave=False):
        verdicts.append(judge_once(folder, judge, epoch, fakes, reals))
    return verdicts


@dataclass(frozen=True)
class Items:
    """What the judges see of some clips, items first."""

    latents: Tensor
    spectrum: Tensor
    wave: Callable[[], Tensor]
    """Makes the waveform, which few judges ask for and which costs the most."""


def judge_once(folder: Path, judge: int, epoch: int, fakes: Items, reals: Items) -> Verdict:
    """One discriminator on fakes and reals."""
    discriminator = load_discriminator(folder, judge)
    fake = family_logits(discriminator, fakes, is_real=False)
    real = family_logits(discriminator, reals, is_real=True)
    fake_mean, real_mean = (torch.stack(list(logits.values())).mean(dim=0) for logits in (fake, real))
    return Verdict(
        discriminator_epoch=judge,
        generator_epoch=epoch,
        d_loss=float(functional.softplus(-fake_mean).mean()),
        probability=float(fake_mean.sigmoid().mean()),
        logit=float(fake_mean.mean()),
        real_d_loss=float(functional.softplus(-real_mean).mean()),
        real_probability=float(real_mean.sigmoid().mean()),
        real_logit=float(real_mean.mean()),
        told_apart=told_apart(real_mean, fake_mean),
        ear_told_apart=told_apart(real["ear"], fake["ear"]),
        professor_told_apart=told_apart(real["professor"], fake["professor"]),
        trained_steps=int(discriminator.trained_steps),
    )


def family_logits(
    discriminator: Discriminator_with_mdisc, items: Items, *, is_real: bool
) -> dict[str, Tensor]:
    """Centred logits of ear and professor [shape=(items,)], each kind before its own crowd as in training."""
    wave = items.wave() if discriminator.ear.wave_windows else None
    judgements = discriminator(wave=wave, latents=items.latents, spectrum=items.spectrum, is_real=is_real)
    return {name: judgements[name].per_item() - getattr(discriminator, f"{name}_offset") for name in FAMILIES}


def told_apart(real: Tensor, fake: Tensor) -> float:
    """Share of pairs (real, fake) in which the real item has the higher logit; ties count half."""
    gaps = real.unsqueeze(1) - fake.unsqueeze(0)
    return float((gaps > 0).float().mean() + 0.5 * (gaps == 0).float().mean())


# --- words -----------------------------------------------------------------------------------------------------------


def interpret(verdicts: list[Verdict]) -> str:
    """What the epochs of one generator's judges mean, in plain sentences (judges that were trained, in order)."""
    first, last = verdicts[0], verdicts[-1]
    lines = [
        f"Generator {first.generator_epoch} before {len(verdicts)} trained discriminators: d_loss (label = real) from "
        f"{first.d_loss:.2f} (epoch {first.discriminator_epoch}) to {last.d_loss:.2f} "
        f"(epoch {last.discriminator_epoch}); log 2 = {CONFUSION:.2f} is the confusion point."
    ]
    sound = [verdict for verdict in verdicts if verdict.real_probability >= USELESS]
    if sound:
        lines.append(trend_sentence(sound))
    lines.append(control_sentence(last))
    useless = [verdict.discriminator_epoch for verdict in verdicts if verdict.real_probability < USELESS]
    if useless:
        lines.append(
            f"Discriminators that call real music fake are useless as judges, whatever they say of the fakes: "
            f"epochs {join(useless)}."
        )
    return "\n".join(lines)


def trend_sentence(verdicts: list[Verdict]) -> str:
    """What the losses do over the epochs."""
    losses = [verdict.d_loss for verdict in verdicts]
    if max(losses) < FOOLED:
        return "All losses are low: every discriminator takes the fakes for real. D does not learn."
    if min(losses) > STRICT:
        return "All losses are high: every discriminator sees through the fakes. G fails against all of them."
    if len(losses) < 3:
        return "Fewer than three usable discriminators: no trend can be seen."
    rise = float(np.polyfit(np.arange(len(losses)), losses, 1)[0]) * (len(losses) - 1)
    if rise > 0.1:
        fooled = [
            v.discriminator_epoch for v in verdicts[: len(verdicts) // 2 + 1] if v.d_loss < CONFUSION - 0.05
        ]
        which = f" (it fooled epochs {join(fooled)})" if fooled else ""
        return f"The loss rises with the epoch: later discriminators are stricter{which}. That is a healthy arms race."
    if rise < -0.1:
        return (
            "The loss falls with the epoch: later discriminators are easier to fool than earlier ones. "
            "D is forgetting, or G has overtaken it."
        )
    if abs(float(np.mean(losses)) - CONFUSION) < 0.15:
        return (
            "The loss stays level near the confusion point: the game is balanced, or D does not learn; "
            "the control tells which."
        )
    return "The loss stays level."


def control_sentence(last: Verdict) -> str:
    """Whether the newest judge can tell real from made at all, and by what."""
    shown = (
        f"Control: the last one gives real music {last.real_probability:.2f}, these fakes {last.probability:.2f}, "
        f"and ranks real above fake in {last.told_apart:.0%} of pairs "
        f"(ear {last.ear_told_apart:.0%}, professor {last.professor_told_apart:.0%})"
    )
    if last.told_apart > 0.9:
        return f"{shown}: it tells them apart."
    if last.told_apart > 0.6:
        return f"{shown}: it tells them apart more often than not."
    if last.told_apart > 0.4:
        return f"{shown}: it cannot tell them apart (G is that good, or D has learned nothing: try --all)."
    return f"{shown}: it prefers the fakes."


def interpret_matrix(verdicts: list[Verdict]) -> str:
    """Strictness of every judge over earlier generators, and the strictest of them."""
    judges = sorted({verdict.discriminator_epoch for verdict in verdicts})
    strictness = {}
    for judge in judges:
        seen = [v for v in verdicts if v.discriminator_epoch == judge and v.generator_epoch < judge]
        if seen:
            strictness[judge] = float(np.mean([v.told_apart >= STRICT_SHARE for v in seen]))
    if not strictness:
        return "No discriminator has an earlier generator to judge: save more epochs."
    strictest = max(strictness, key=lambda judge: (strictness[judge], judge))
    lines = [f"Strictness, the share of earlier generators whose fakes a judge ranks below real music: "
             f"{', '.join(f'{judge}: {share:.2f}' for judge, share in strictness.items())}.",
             f"The strictest discriminator is epoch {strictest}: keep it for ranking and for restarts."]  # fmt: skip
    if strictness[judges[-1]] < 0.8:
        lines.append(
            "The newest one forgot old fakes (strictness below 0.8): the players may be going in circles."
        )
    return "\n".join(lines)


def join(numbers: list[int]) -> str:
    """1, 2, 3"""
    return ", ".join(map(str, numbers))


# --- tables and pictures ---------------------------------------------------------------------------------------------


def table_text(verdicts: list[Verdict]) -> str:
    """One line for each discriminator."""
    lines = [
        "epoch   d_loss  probability    logit | real: d_loss  probability    logit | told apart    ear  professor"
    ]
    for v in verdicts:
        lines.append(
            f"{v.discriminator_epoch:5d} {v.d_loss:8.3f} {v.probability:12.3f} {v.logit:8.3f} | "
            f"{v.real_d_loss:12.3f} {v.real_probability:12.3f} {v.real_logit:8.3f} | "
            f"{v.told_apart:10.2f} {v.ear_told_apart:6.2f} {v.professor_told_apart:10.2f}"
        )
    return "\n".join(lines)


def matrix_text(verdicts: list[Verdict]) -> str:
    """d_loss of every generator (columns) before every discriminator (rows)."""
    judges, generators, losses = matrix(verdicts, lambda verdict: verdict.d_loss)
    lines = ["d_loss (label = real); rows: discriminator, columns: generator"]
    lines.append("      " + "".join(f"{epoch:7d}" for epoch in generators))
    for judge, row in zip(judges, losses, strict=True):
        lines.append(f"{judge:5d} " + "".join(f"{value:7.2f}" for value in row))
    return "\n".join(lines)


def matrix(
    verdicts: list[Verdict], value: Callable[[Verdict], float]
) -> tuple[list[int], list[int], np.ndarray]:
    """Discriminator epochs, generator epochs, and a value for every pair."""
    judges = sorted({verdict.discriminator_epoch for verdict in verdicts})
    generators = sorted({verdict.generator_epoch for verdict in verdicts})
    table = np.full((len(judges), len(generators)), np.nan)
    for verdict in verdicts:
        table[judges.index(verdict.discriminator_epoch), generators.index(verdict.generator_epoch)] = value(
            verdict
        )
    return judges, generators, table


def write_table(verdicts: list[Verdict], output: Path) -> None:
    """verdicts.csv and verdicts.json."""
    rows = [asdict(verdict) for verdict in verdicts]
    text = StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(output / "verdicts.csv", text.getvalue().encode("ascii"))
    write_json(output / "verdicts.json", rows)


def draw_curve(verdicts: list[Verdict], path: Path) -> Path:
    """d_loss and probability over epochs, fakes beside real music, and who tells them apart; confusion marked."""
    epochs = [verdict.discriminator_epoch for verdict in verdicts]

    def line(name: str, field: str, style: str) -> Line:
        return Line(name, epochs, [getattr(verdict, field) for verdict in verdicts], style)

    fakes = f"generator {verdicts[0].generator_epoch}"
    charts = [
        Chart(
            "d_loss, label = real",
            [line(fakes, "d_loss", "o-"), line("real music", "real_d_loss", "s--")],
            ("confusion, log 2", CONFUSION),
        ),
        Chart(
            "mean probability of being real",
            [line(fakes, "probability", "o-"), line("real music", "real_probability", "s--")],
            ("confusion", 0.5),
        ),
        Chart(
            "pairs in which real is ranked above fake",
            [
                line("ear and professor", "told_apart", "o-"),
                line("ear", "ear_told_apart", "^:"),
                line("professor", "professor_told_apart", "v:"),
            ],
            ("guessing", 0.5),
        ),
    ]
    return chart_row(charts, path, x_label="discriminator epoch")


def draw_matrix(verdicts: list[Verdict], path: Path) -> Path:
    """Heat map of d_loss: every generator before every discriminator."""
    judges, generators, losses = matrix(verdicts, lambda verdict: verdict.d_loss)
    size = (3.0 + 0.25 * min(len(generators), 40), 2.0 + 0.25 * min(len(judges), 40))
    with styled_figure(1, 1, size=size) as (figure, axes):
        axis = axes.flat[0]
        image = axis.imshow(
            losses, origin="lower", cmap="coolwarm", vmin=0.0, vmax=2 * CONFUSION, aspect="auto"
        )
        for set_ticks, epochs in ((axis.set_xticks, generators), (axis.set_yticks, judges)):
            places = range(0, len(epochs), 1 + len(epochs) // MOST_LABELS)
            set_ticks(places, [str(epochs[place]) for place in places])
        if losses.size <= MOST_NUMBERS:
            for (row, column), loss in np.ndenumerate(losses):
                axis.text(column, row, f"{loss:.1f}", ha="center", va="center", fontsize=7)
        axis.tick_params(axis="x", rotation=90)
        axis.set_xlabel("generator epoch")
        axis.set_ylabel("discriminator epoch")
        axis.set_title("d_loss, label = real: red sees through it, blue is fooled", loc="left", wrap=True)
        bar = figure.colorbar(image, ax=axis)
        bar.ax.axhline(CONFUSION, color="black", linestyle=":")
        return save_figure(figure, path)


if __name__ == "__main__":
    raise SystemExit(main())
