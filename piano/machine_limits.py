"""What settings ask of a machine, held against what it has, before anything is built: too much is one sentence.

Each figure is the least that a run cannot do without, so that nothing is refused that could have worked.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import nn

from piano.config_reader import Config
from piano.foundation.errors import ConfigError
from piano.foundation.runtime import available_cores, best_device
from piano.stages import STAGE, STAGE_NAMES

NUMBER_BYTES = 4
COPIES = (4, 3)
"""Of every weight of generator and discriminator: itself, its gradient, a moment of its optimiser; the average."""
KEPT_PER_LAYER = 4
"""Hidden layers of a block that its backward pass needs, at the least."""
CLUSTER = ("MASTER_ADDR", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", "LSB_JOBID", "PBS_JOBID", "NODE_RANK", "GROUP_RANK")
"""Variables by which a process knows of other nodes."""
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def refuse_impossible(
    config: Config, build: Callable[[], Iterable[nn.Module]], *, environment: Mapping[str, str] | None = None
) -> None:
    """Refuse settings that this machine cannot train with.

    Parameters
    ----------
    config : Config
    build : callable
        Builds generator and discriminator; called where tensors have sizes and no numbers.
    environment : mapping, optional
        Variables of the process; by default its own.

    Raises
    ------
    ConfigError
        More processes than devices, other nodes that nobody knows of, or more memory than there is.
    """
    device = best_device() if config.runtime.device == "auto" else config.runtime.device
    refuse_processes(config, device, os.environ if environment is None else environment)
    memory, place = memory_of(device)
    if memory is None:
        return
    batches = max(batch_bytes(config).values())
    if batches > memory:  # before the networks: it costs nothing
        raise ConfigError(_too_large("a batch", batches, memory, place))
    with torch.device("meta"):
        networks = list(build())
    weights = sum(
        copies * NUMBER_BYTES * sum(parameter.numel() for parameter in network.parameters())
        for copies, network in zip(COPIES, networks, strict=False)
    )
    if weights + batches > memory:
        raise ConfigError(_too_large("these networks", weights + batches, memory, place))


def refuse_processes(config: Config, device: str, environment: Mapping[str, str]) -> None:
    """As many processes as the machine has devices for, and nodes only where there are others; raises ConfigError."""
    wanted, nodes = config.runtime.devices, config.runtime.nodes
    there = {"cuda": torch.cuda.device_count, "mps": lambda: 1}.get(device, lambda: max(2, available_cores()))()
    if wanted > there:
        kind = "cores" if device == "cpu" else f"{device} devices"
        raise ConfigError(f"runtime.devices is {wanted}, and this machine has {there} {kind} to run on: give fewer.")
    if nodes > 1 and not any(environment.get(name) for name in CLUSTER):
        raise ConfigError(
            f"runtime.nodes is {nodes}, and nothing here knows of other nodes: start the run with a launcher "
            "(torchrun, SLURM) or set MASTER_ADDR, MASTER_PORT and NODE_RANK on each, or give 1."
        )


def batch_bytes(config: Config) -> dict[str, int]:
    """Stage -> the least memory in bytes that one of its steps takes in one process."""
    model, needed = config.model, {}
    values = model.spectrum_values
    processes = config.runtime.devices * config.runtime.nodes
    parts = config.accumulation_steps * processes
    for name in STAGE_NAMES:
        stage = config.stage(name)
        batch = stage.batch_size
        frames = stage.frames * (batch // parts)
        if not STAGE[name].composes:
            waveform = stage.frames * (batch // processes) * model.hop_samples * model.sound_channels
            widths = model.encoder_channels * model.encoder_layers + model.n_channels * model.decoder_layers
            hidden = frames * model.latent_stride * (values + KEPT_PER_LAYER * widths)
        else:
            waveform = stage.frames * batch * model.latent_dim
            hidden = frames * model.attention_channels * model.num_layers * KEPT_PER_LAYER
        needed[name] = NUMBER_BYTES * (waveform + hidden) if stage.share else 0
    return needed


def memory_of(device: str) -> tuple[int | None, str]:
    """Bytes that there are where a run on a device has its tensors (None: not known), and what that place is called."""
    if device == "cuda":
        return torch.cuda.get_device_properties(0).total_memory, "the GPU"
    return physical_memory(), "this machine"


def physical_memory() -> int | None:
    """Bytes of memory that this process can ever have: the machine's, or less in a container; None if not known."""
    sizes = [_installed_memory()]
    for name in CGROUP_LIMITS:
        try:
            sizes.append(int(Path(name).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such file; `max`
            continue
    return min((size for size in sizes if size), default=None)


def _installed_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has another way
        return _windows_memory()


def _windows_memory() -> int | None:
    import ctypes

    class Status(ctypes.Structure):
        """MEMORYSTATUSEX."""

        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "free", "a", "b", "c", "d", "e")),
        )

    status = Status(length=ctypes.sizeof(Status))
    try:
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return None
    return int(status.total) or None


def _too_large(what: str, needed: int, memory: int, place: str) -> str:
    return (
        f"{what} would need at least {needed / 1e9:,.1f} GB, and {place} has {memory / 1e9:,.1f} GB. Choose a smaller "
        "preset, smaller sizes in the section model or a smaller batch_size, or raise accumulation_steps."
    )
