"""What this machine can train, and how long it would take: measured on twenty real steps, extrapolated from there."""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import soundfile
import torch
import yaml
from torch import nn

from piano.config_reader import Config, find_config, load_config_from_yaml
from piano.doctor.wiring import parameters_of, synthetic_run
from piano.foundation.doors import command
from piano.foundation.runtime import available_cores, best_device
from piano.foundation.screen_text import counted, wrapped
from piano.stages import FIRST_STAGE, STAGE, STAGE_NAMES, TRAIN
from piano.training_run import TrainingRun

STEPS = 20
MEASURED_BATCH = 4
"""Items of a measured step: what `synthetic_run` sets."""
FORMATS = ("MP3", "FLAC", "OGG", "WAV")
LEARNING_SHARE = 0.75
"""Of a short run's minutes, about: the rest is loading, encoding, gates and saving."""
ENOUGH_STEPS = 1500
"""Of the slowest ten-minute run that README counts (autoencoder 540, flow 890, and the rest): it scored 0.14."""
BYTES_PER_PARAMETER = 20
"""Weights, averaged weights, gradient and two moments, 4 bytes each."""


class PresetTime(NamedTuple):
    """What a preset would take here."""

    name: str
    parameters: int
    steps: int
    hours: float
    gigabytes: float
    """Of networks, optimisers and averages; the batch's own needs come on top."""


def codec_lines() -> list[str]:
    """Which sound files can be read and written."""
    available = soundfile.available_formats()
    lines = [
        f"{name:<6} {'yes' if name in available else 'NO: install a newer soundfile'}" for name in FORMATS
    ]
    has_ffmpeg = shutil.which("ffmpeg") is not None
    if not has_ffmpeg:
        try:
            import imageio_ffmpeg

            has_ffmpeg = Path(imageio_ffmpeg.get_ffmpeg_exe()).is_file()
        except (ImportError, RuntimeError):
            has_ffmpeg = False
    return [*lines, f"M4A    {'yes' if has_ffmpeg else 'no (pip install musigan[m4a])'}"]


def device_lines() -> list[str]:
    """What computes."""
    lines = [
        f"processor   {platform.processor() or platform.machine()}, {available_cores()} cores for this process"
    ]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            known = torch.cuda.get_device_properties(index)
            lines.append(f"GPU {index}       {known.name}, {known.total_memory / 2**30:.0f} GB")
    elif torch.backends.mps.is_available():
        lines.append("GPU         Apple (mps)")
    else:
        lines.append("GPU         none")
    return [*lines, f"training    would run on {best_device()}"]


def thread_seconds() -> dict[int, float]:
    """Seconds of a small training step with so many CPU threads, the best of a few."""
    counts = sorted({count for count in (1, 2, 4, 8, available_cores()) if count <= available_cores()})
    network = nn.Sequential(nn.Linear(256, 768), nn.GELU(), nn.Linear(768, 256))
    frames = torch.randn(1024, 256)
    before, seconds = torch.get_num_threads(), {}
    for count in counts:
        torch.set_num_threads(count)
        seconds[count] = best_of(5, lambda: network(frames).square().mean().backward())
    torch.set_num_threads(before)
    return seconds


def best_of(times: int, work: Callable[[], object]) -> float:
    """Shortest time of something, after a first go."""
    work()
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return min(found)


def measured_rate(config: Config) -> tuple[float, float]:
    """(seconds of a step, work per second) of twenty autoencoder steps of a config on the CPU, on made-up music."""
    with tempfile.TemporaryDirectory() as folder:
        run = synthetic_run(config, Path(folder), precision=config.runtime.precision)
        stage = run.settings(FIRST_STAGE).model_copy(update={"steps_per_epoch": STEPS})
        run.config = run.config.model_copy(
            update={
                "stages": run.config.stages.model_copy(update={FIRST_STAGE: stage}),
                "pretrain_epochs_g": 2,
            }
        )
        stamps: list[float] = []
        record = run.record

        def timed(*arguments, **keywords) -> None:
            stamps.append(time.perf_counter())
            record(*arguments, **keywords)

        run.record = timed
        TRAIN[FIRST_STAGE](run)
        half = stamps[len(stamps) // 2 :]  # the first steps pay for warming up
        seconds = (half[-1] - half[0]) / (len(half) - 1)
        work = stage_work(run, FIRST_STAGE, batch=MEASURED_BATCH, frames=run.settings(FIRST_STAGE).frames)
        return seconds, work / seconds


def stage_work(run: TrainingRun, stage: str, *, batch: int, frames: int) -> float:
    """Parameters that a step goes through, times frames, times items: what its time is taken to grow with."""
    parameters = sum(p.numel() for part in STAGE[stage].passes for p in parameters_of(run.parts[part]))
    return float(parameters * frames * batch)


def preset_times(path: Path | None, rate: float) -> list[PresetTime]:
    """Every preset's epochs at the measured rate, on this CPU."""
    names = (yaml.safe_load(find_config(path).read_text(encoding="utf-8")) or {}).get("presets") or {}
    found = []
    for name in names:
        config = load_config_from_yaml(path, preset=name).model_copy(update={"minutes": None})
        with torch.device("meta"):
            run = meta_run(config)
        steps, work = 0, 0.0
        for stage in STAGE_NAMES:
            settings, count = run.settings(stage), run.stage_steps(stage)
            steps += count
            batch = settings.batch_size or config.batch_size
            work += count * stage_work(run, stage, batch=batch, frames=settings.frames)
        parameters = sum(
            p.numel() for network in (run.generator, run.discriminator) for p in network.parameters()
        )
        found.append(
            PresetTime(name, parameters, steps, work / rate / 3600, BYTES_PER_PARAMETER * parameters / 2**30)
        )
    return found


def short_run_text(times: Sequence[PresetTime], minutes: float = 10.0) -> str:
    """How far ten minutes of the smallest preset go here, and beside it how long all of its epochs would take.

    Parameters
    ----------
    times : sequence of PresetTime
        From `preset_times`; the first is the smallest.
    minutes : float
        Of `musigan train --minutes`.
    """
    row = times[0]
    share = LEARNING_SHARE * minutes / 60 / max(row.hours, 1e-9)
    steps = round(min(share, 1.0) * row.steps)
    asked = f"--preset {row.name} --minutes {minutes:g}"
    told = f"{asked} takes about {counted(steps, 'step')} here; the README's ten minutes took {ENOUGH_STEPS:,} and more"
    if steps >= ENOUGH_STEPS:
        return f"{told}, so that you can expect the same: notes and a beat."
    enough = duration(minutes * ENOUGH_STEPS / max(steps, 1) / 60)
    return (f"{told}. For as many, give it {enough}, or go on from the shipped model: "
            f"{command('train', '--from', 'shipped', '--minutes', f'{minutes:g}')}.")  # fmt: skip


def meta_run(config: Config) -> TrainingRun:
    """A run whose networks have shapes and no memory; good for counting only."""
    from piano.piano_main import build_discriminator
    from piano.piano_model import VariationalAttentionModel

    run = TrainingRun.__new__(TrainingRun)
    run.config = config
    run.generator = VariationalAttentionModel(**config.model.model_dump())
    run.discriminator = build_discriminator(config, run.generator)
    return run


def env_text(path: Path | None) -> str:
    """What is printed by `musigan doctor env`."""
    config = load_config_from_yaml(path)
    threads = thread_seconds()
    fastest = min(threads, key=lambda count: threads[count])
    torch.set_num_threads(fastest)
    seconds, rate = measured_rate(config)
    free = shutil.disk_usage(
        config.checkpoint_folder.parent if config.checkpoint_folder.parent.exists() else "."
    ).free
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    times = preset_times(path, rate)
    table = [
        f"  {'preset':<7} {'parameters':>11} {'steps':>8} {'time on this CPU':>18} {'memory, at least':>18}"
    ]
    for row in times:
        need = f"{row.gigabytes:.1f} GB"
        size = f"{row.parameters / 1e6:.1f} M"
        table.append(f"  {row.name:<7} {size:>11} {row.steps:>8} {duration(row.hours):>18} {need:>18}")
    threads_lines = [f"  {count:<3} {1e3 * value:.1f} ms{'   fastest' if count == fastest else ''}"
                     for count, value in threads.items()]  # fmt: skip
    fits = [row.name for row in times if row.hours < 24 and (not memory or row.gigabytes < memory / 2**30)]
    could = f"This machine's CPU can train all epochs of {', '.join(fits)} within a day." if fits else \
        "This machine's CPU trains all epochs of no preset within a day."  # fmt: skip
    gpu = " There is a GPU: expect far less time." if best_device() != "cpu" else ""
    return "\n".join([
        wrapped(f"VERDICT  {short_run_text(times)} {could}{gpu}"), "",
        "sound files", *(f"  {line}" for line in codec_lines()), "",
        "devices", *(f"  {line}" for line in device_lines()), "",
        "CPU threads, measured now (a small step)",
        *threads_lines, "",
        f"disk        {free / 2**30:.0f} GB free beside {config.checkpoint_folder}",
        f"memory      {memory / 2**30:.0f} GB" if memory else "memory      unknown", "",
        wrapped(f"training    {STEPS} steps of {config.preset}'s autoencoder on made-up music, {MEASURED_BATCH} items "
                f"each, {counted(fastest, 'thread')}: {1e3 * seconds:.0f} ms a step"), "",
        "how long all of each preset's epochs would take on this CPU", *table,
        wrapped("Extrapolated from those steps, in proportion to parameters x frames x items: right within a factor "
                "of about three, and for this CPU only. With --minutes N a run takes N minutes anywhere, and is as "
                "good as N minutes allow."),
    ])  # fmt: skip


def duration(hours: float) -> str:
    """Hours in a unit one can picture."""
    if hours < 1.0:
        return f"{60 * hours:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.0f} days"
