"""What this machine can train, and how long it would take: measured on real steps, extrapolated from there."""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import soundfile
import torch
from torch import nn

from piano.checkup.wiring import parameters_of, synthetic_run
from piano.config_reader import Config, load_config_from_yaml, preset_names
from piano.foundation.doors import command
from piano.foundation.runtime import available_cores, best_device, has_device
from piano.foundation.screen_text import counted, wrapped
from piano.piano_pretrain import try_steps
from piano.stages import STAGE, STAGE_NAMES
from piano.training.training_run import TrainingRun

FORMATS = ("MP3", "FLAC", "OGG", "WAV")
LEARNING_SHARE = 0.75
"""Of a short run's minutes, about: the rest is loading, encoding, gates and saving."""
MISSING_M4A = 'no (pip install -e ".[m4a]")'
ENOUGH_STEPS = 1500
"""Of the slowest ten-minute run of docs/results.md (autoencoder 540, flow 890, and the rest): it scored 0.14."""
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
    short_steps: int
    """In ten minutes of `musigan train --minutes 10`."""


def codec_lines() -> list[str]:
    """Which sound files can be read and written."""
    available = soundfile.available_formats()
    lines = [f"{name:<6} {'yes' if name in available else 'NO: install a newer soundfile'}" for name in FORMATS]
    has_ffmpeg = shutil.which("ffmpeg") is not None
    if not has_ffmpeg:
        try:
            import imageio_ffmpeg

            has_ffmpeg = Path(imageio_ffmpeg.get_ffmpeg_exe()).is_file()
        except (ImportError, RuntimeError):
            has_ffmpeg = False
    return [*lines, f"M4A    {'yes' if has_ffmpeg else MISSING_M4A}"]


def device_lines() -> list[str]:
    """What computes."""
    name, cores = platform.processor() or platform.machine(), counted(available_cores(), "core")
    lines = [f"processor   {name}, {cores} for this process"]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            known = torch.cuda.get_device_properties(index)
            use = "" if has_device("cuda") else ", for which this PyTorch has no code"
            lines.append(f"GPU {index}       {known.name}, {known.total_memory / 2**30:.0f} GB{use}")
    elif torch.backends.mps.is_available():
        lines.append("GPU         Apple (mps), used only where it is named")
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


def measured_rates(config: Config) -> tuple[dict[str, float], dict[bool, float]]:
    """Steps of a config on the CPU, on made-up music.

    Returns
    -------
    dict
        Seconds of a step of each stage that was tried.
    dict
        Work per second of stages that compose (True) and of others (False).
    """
    with tempfile.TemporaryDirectory() as folder:
        run = synthetic_run(config, Path(folder), precision=config.runtime.precision)
        run.config = run.config.model_copy(update={"stages": config.stages, "batch_size": config.batch_size})
        seconds = try_steps(run)
        rates = {}
        for stage, taken in seconds.items():
            work = stage_work(run, stage, batch=run.batch_size(stage), frames=run.settings(stage).frames)
            rates[STAGE[stage].composes] = work / taken
        return seconds, rates


def stage_work(run: TrainingRun, stage: str, *, batch: int, frames: int) -> float:
    """Parameters that a step goes through, times frames, times items: what its time is taken to grow with."""
    parameters = sum(p.numel() for part in STAGE[stage].passes for p in parameters_of(run.parts[part]))
    return float(parameters * frames * batch)


def preset_times(path: Path | None, rates: Mapping[bool, float], minutes: float = 10.0) -> list[PresetTime]:
    """Every preset's epochs, and its steps in so many minutes, at the measured rates, on this CPU."""
    found = []
    for name in preset_names(path):
        config = load_config_from_yaml(path, preset=name).model_copy(update={"minutes": None})
        with torch.device("meta"):
            run = meta_run(config)
        steps, seconds, short = 0, 0.0, 0.0
        shares = sum(run.settings(stage).share for stage in STAGE_NAMES)
        for stage in STAGE_NAMES:
            settings, count = run.settings(stage), run.stage_steps(stage)
            work = stage_work(run, stage, batch=run.batch_size(stage), frames=settings.frames)
            one = work / rates[STAGE[stage].composes]
            steps += count
            seconds += count * one
            short += LEARNING_SHARE * 60.0 * minutes * settings.share / shares / one
        parameters = sum(p.numel() for network in (run.generator, run.discriminator) for p in network.parameters())
        found.append(
            PresetTime(name, parameters, steps, seconds / 3600, BYTES_PER_PARAMETER * parameters / 2**30, round(short))
        )
    return found


def short_run_text(times: Sequence[PresetTime], minutes: float = 10.0) -> str:
    """How far ten minutes of the smallest preset go here, and how many more would do as well as those of our figures.

    Parameters
    ----------
    times : sequence of PresetTime
        From `preset_times`; the first is the smallest.
    minutes : float
        Of `musigan train --minutes`.
    """
    row = times[0]
    steps = row.short_steps
    asked = f"--preset {row.name} --minutes {minutes:g}"
    told = (
        f"{asked} takes about {counted(steps, 'step')} here; ten minutes of our figures took {ENOUGH_STEPS:,} and more"
    )
    if steps >= ENOUGH_STEPS:
        return f"{told}, so that you can expect the same: notes and a beat."
    enough = duration(minutes * ENOUGH_STEPS / max(steps, 1) / 60)
    return (
        f"{told}. For as many, give it {enough}; or go on from a model that comes with the project: "
        f"{command('train', '--from', 'shipped', '--minutes', f'{minutes:g}')}."
    )


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
    seconds, rates = measured_rates(config)
    free = shutil.disk_usage(config.checkpoint_folder.parent if config.checkpoint_folder.parent.exists() else ".").free
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    times = preset_times(path, rates)
    table = [f"  {'preset':<7} {'parameters':>11} {'steps':>8} {'time on this CPU':>18} {'memory, at least':>18}"]
    for row in times:
        need = f"{row.gigabytes:.1f} GB"
        size = f"{row.parameters / 1e6:.1f} M"
        table.append(f"  {row.name:<7} {size:>11} {row.steps:>8} {duration(row.hours):>18} {need:>18}")
    threads_lines = [
        f"  {count:<3} {1e3 * value:.1f} ms{'   fastest' if count == fastest else ''}"
        for count, value in threads.items()
    ]
    fits = [row.name for row in times if row.hours < 24 and (not memory or row.gigabytes < memory / 2**30)]
    could = (
        f"This machine's CPU can train all epochs of {', '.join(fits)} within a day."
        if fits
        else "This machine's CPU trains all epochs of no preset within a day."
    )
    gpu = " There is a GPU: expect far less time." if best_device() != "cpu" else ""
    return "\n".join(
        [
            wrapped(f"VERDICT  {short_run_text(times)} {could}{gpu}"),
            "",
            "sound files",
            *(f"  {line}" for line in codec_lines()),
            "",
            "devices",
            *(f"  {line}" for line in device_lines()),
            "",
            "CPU threads, measured now (a small step)",
            *threads_lines,
            "",
            f"disk        {free / 2**30:.0f} GB free beside {config.checkpoint_folder}",
            f"memory      {memory / 2**30:.0f} GB" if memory else "memory      unknown",
            "",
            wrapped(
                f"training    a step of {config.preset} on made-up music, {counted(fastest, 'thread')}: "
                + ", ".join(f"{stage} {1e3 * taken:.0f} ms" for stage, taken in seconds.items())
            ),
            "",
            "how long all of each preset's epochs would take on this CPU",
            *table,
            wrapped(
                "Extrapolated from those steps, in proportion to parameters x frames x items: right within a factor "
                "of about three, for this CPU, and while it is as busy as now. With --minutes N a run takes N "
                "minutes anywhere, and is as good as N minutes allow."
            ),
        ]
    )


def duration(hours: float) -> str:
    """Hours in a unit one can picture."""
    if hours < 1.0:
        return f"{60 * hours:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.0f} days"
