"""Where and how this process runs: device, precision, threads, seed, ranks (Lightning Fabric)."""

import atexit
import datetime
import logging
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed
from torch import Tensor, nn

from piano.foundation.collectives import Crowd, Group, crowd_of, detached_batch, whole_batch
from piano.foundation.cores import available_cores
from piano.foundation.errors import ConfigError, MusiganError, StoppedBySignal, ToldElsewhere, TrainingError
from piano.foundation.first_process import is_first_process
from piano.foundation.freed_memory import keep_freed_memory
from piano.foundation.launch import cores_of_each, end_others, start_others
from piano.foundation.meeting import meeting
from piano.foundation.peers import Peers

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Runtime", "is_first_process", "start_runtime"]
logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")
LONGEST_WAIT = datetime.timedelta(days=365)
"""In an exchange: one process may judge for hours while the others wait. Who is gone is noticed by `Peers`."""
LAST_SECONDS = 60.0
"""From the end of the main process's work to that of the processes that it started."""


class Runtime:
    """One process of a run.

    Parameters
    ----------
    fabric : Fabric
        Launched.
    precision : str
        `32` or `bf16`.
    adapts_threads : bool
        Whether the number of threads was measured here, and may be changed when something else uses the processor.
    """

    def __init__(self, fabric: "Fabric", precision: str, *, adapts_threads: bool = False) -> None:
        self.fabric = fabric
        self.precision = precision
        self.adapts_threads = adapts_threads
        self._group: Group = None
        self.peers: Peers | None = None
        """The other processes, where there are some."""
        if self.world_size > 1:
            self._group = torch.distributed.new_group(timeout=LONGEST_WAIT)
            self.peers = Peers(
                fabric.global_rank,
                fabric.world_size,
                address=os.environ["MASTER_ADDR"],
                exchange=self._from_main,
                speaks_for_node=fabric.global_rank == 1 or (fabric.local_rank == 0 and fabric.global_rank > 0),
            )
            self.wait()

    @property
    def device(self) -> torch.device:
        """Where tensors of this process live."""
        return self.fabric.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks to the screen."""
        return self.fabric.is_global_zero

    @property
    def rank(self) -> int:
        """Number of this process, over all nodes; the main one is 0."""
        return self.fabric.global_rank

    @property
    def world_size(self) -> int:
        """Processes of the run, over all nodes."""
        return self.fabric.world_size

    @property
    def dtype(self) -> torch.dtype:
        """Of products that need no more: bfloat16 or float32."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def autocast(self) -> AbstractContextManager:
        """The context in which networks run."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def micro_batches(self, batch_size: int, accumulation_steps: int) -> Iterator[slice]:
        """This process's parts of a batch that all processes draw alike.

        The n-th parts of all processes, in the order of ranks, are the n-th part that one process would have.
        """
        each = batch_size // (self.world_size * accumulation_steps)
        for part in range(accumulation_steps):
            begin = (part * self.world_size + self.rank) * each
            yield slice(begin, begin + each)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over all processes: one collective for one network.

        Nothing is wrapped: two networks that take turns, each with parts that rest in some stages, are what wrapped
        modules handle worst.
        """
        if self.world_size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = self.mean(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def whole(self, tensor: Tensor) -> Tensor:
        """The batch of all processes, in the order of ranks; gradients come back to who holds an item."""
        return whole_batch(tensor, self._group)

    def gather(self, tensor: Tensor) -> Tensor:
        """The batch of all processes, in the order of ranks, detached."""
        return detached_batch(tensor, self._group)

    def crowd(self, tensor: Tensor) -> Crowd:
        """The same of items of which some processes may have fewer, or none."""
        return crowd_of(tensor, self._group)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over all processes."""
        if self.world_size == 1:
            return values
        summed = values.detach().clone()
        torch.distributed.all_reduce(summed, group=self._group)
        return summed / self.world_size

    def agree(self, value: float) -> float:
        """The main process's value, in every process."""
        return value if self.world_size == 1 else float(self._from_main(value))

    def asked_of_main(self, question: Callable[[], Answer]) -> Answer:
        """What the main process answers, in every process; the others wait for it, however long it takes.

        The question may not need the other processes.
        """
        if self.world_size == 1:
            return question()
        return self._from_main(question() if self.is_main else None)

    def _from_main(self, value: Any) -> Any:
        """The main process's value, in every process."""
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0, group=self._group)
        return box[0]

    def share(self, *modules: nn.Module) -> None:
        """Give every process the main one's numbers of these modules: measured on another machine they may differ."""
        if self.world_size > 1:
            for module in modules:
                for value in module.state_dict().values():
                    torch.distributed.broadcast(value, src=0, group=self._group)

    def part_randomness(self) -> None:
        """Give each process torch's own random numbers, from those that all have now: the main one keeps them.

        Only dropout draws of these while a run learns. With the same numbers everywhere it would leave out the same
        places in the items of every process. What all draw alike comes from `Step`.
        """
        if self.rank:
            torch.manual_seed(int(torch.randint(2**62, ())) + self.rank)

    def wait(self) -> None:
        """Until every process is here."""
        if self.world_size > 1:
            torch.distributed.barrier(group=self._group)

    def lost(self) -> str:
        """What happened to another process, as an exchange that failed may come before the news; else nothing."""
        return "" if self.peers is None else self.peers.lost()

    @contextmanager
    def together(self, *, advice: str) -> Iterator[None]:
        """What ends one process inside ends all; errors that a user can mend are said once.

        Parameters
        ----------
        advice : str
            What to do when another process is gone.
        """
        peers = self.peers
        if peers is None:
            yield
            return
        peers.advice = advice
        try:
            yield
        except (StoppedBySignal, KeyboardInterrupt):
            peers.leave()
            raise
        except MusiganError as error:
            peers.leave(str(error))
            if not peers.speaks:
                raise ToldElsewhere(str(error)) from None
            raise
        except BaseException as error:
            # An exchange with a process that is gone fails, too, before the news comes or after it.
            lost = peers.lost() if isinstance(error, RuntimeError) else ""
            peers.leave(lost or f"{type(error).__name__}: {error}")
            if lost:
                raise (TrainingError if peers.speaks else ToldElsewhere)(lost) from None
            raise
        else:
            peers.leave()


def start_runtime(
    *,
    device: str = "auto",
    precision: str = "auto",
    threads: int | str = "auto",
    devices: int = 1,
    nodes: int = 1,
    seed: int = 0,
) -> Runtime:
    """Choose device, threads and precision (by measuring where `auto`), launch the processes, seed them alike."""
    # It takes as long to load as torch itself: only those who train wait for it.
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    accelerator = choose_device(device)
    if accelerator == "cpu":
        keep_freed_memory()
    is_measured = accelerator == "cpu" and threads == "auto"
    others: list[subprocess.Popen] = []
    with meeting(others) if devices * nodes > 1 else nullcontext():
        others += start_others(devices, nodes)
        if others:
            atexit.register(end_others, others, seconds=LAST_SECONDS)
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy="ddp" if devices * nodes > 1 else "auto",
            precision="32-true",
        )
        fabric.launch()
        if accelerator == "cpu":  # after the launch, which sets one thread in each of several processes
            alone = choose_threads if devices == 1 else lambda: cores_of_each(devices)
            torch.set_num_threads(alone() if threads == "auto" else int(threads))
        torch.manual_seed(seed)
        if accelerator == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = True
        runtime = Runtime(fabric, precision, adapts_threads=is_measured and fabric.world_size == 1)
    if precision == "auto":
        runtime.precision = runtime.asked_of_main(lambda: choose_precision(fabric.device))
    return runtime


def best_device() -> str:
    """`cuda` if it is there, else `cpu`; `mps` only for those who name it, as it was never tried."""
    return "cuda" if has_device("cuda") else "cpu"


def has_device(name: str) -> bool:
    """Whether this machine has such a device, and PyTorch code for it: its wheels leave out old GPUs."""
    if name == "cuda":
        return torch.cuda.is_available() and serves(torch.cuda.get_arch_list(), torch.cuda.get_device_capability())
    return name == "cpu" or torch.backends.mps.is_available()


def serves(architectures: Sequence[str], capability: tuple[int, int]) -> bool:
    """Whether code for these architectures runs on a GPU of a compute capability.

    Parameters
    ----------
    architectures : sequence of str
        As `torch.cuda.get_arch_list` names them: machine code (`sm_86`) runs on its own generation from that version
        on, code that is yet to be translated (`compute_120`) on all that came later. Other names (AMD's) are not
        judged.
    capability : tuple of int
        Generation and version.
    """
    known = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", name) for name in architectures]
    if not all(known):
        return True
    for kind, generation, version in (found.groups() for found in known if found):
        oldest = int(generation), int(version)
        if oldest <= capability and (kind == "compute" or oldest[0] == capability[0]):
            return True
    return not known


def choose_device(name: str) -> str:
    """The device of a command's --device: `auto` is the best there is; raises ConfigError where it is not there."""
    if name != "auto" and not has_device(name):
        raise ConfigError(f"this machine has no {name} device that PyTorch can use. Leave it out, or choose cpu.")
    return best_device() if name == "auto" else name


def choose_threads() -> int:
    """The fastest number of threads right now: with a busy core, two can be ten times slower than one.

    Measured in turns, and by the mean: a neighbour that comes and goes spoils some turns of many threads, and would
    spoil as many steps.
    """
    candidates = [count for count in sorted({1, 2, 4, 8, available_cores()}) if count <= available_cores()]
    seconds = dict.fromkeys(candidates, 0.0)
    for _ in range(THREAD_ROUNDS if len(candidates) > 1 else 1):
        for count in candidates:
            torch.set_num_threads(count)
            seconds[count] += _probe(torch.device("cpu"), bf16=False) / THREAD_ROUNDS
    best = min(seconds, key=lambda count: seconds[count] * (1.0 + 0.02 * count))
    logger.info("threads: %s (%s)", best, ", ".join(f"{n}: {1e3 * t:.1f} ms" for n, t in seconds.items()))
    return best


THREAD_ROUNDS = 2
_fastest: dict[int, int] = {}


def fastest_threads(work: Callable[[], object], *, most: int, seconds: float = 0.4) -> int:
    """The number of threads, up to `most`, with which a short piece of work is fastest right now.

    Measured once in a process, in turns, so that another program that starts meanwhile is everybody's. The fewer win
    where more gain little.

    Parameters
    ----------
    work : callable
        Some milliseconds of what is to be done.
    seconds : float
        No new measurement is begun after this time.
    """
    if most not in _fastest:
        before = torch.get_num_threads()
        counts = [count for count in (1, 2, 4, 8, 16, 32) if count < most] + [most]
        best = dict.fromkeys(counts, float("inf"))
        begin = time.perf_counter()
        work()  # the first time is slow for other reasons
        for count in counts * 4:
            if time.perf_counter() - begin > seconds and best[count] < float("inf"):
                break
            torch.set_num_threads(count)
            started = time.perf_counter()
            work()
            best[count] = min(best[count], time.perf_counter() - started)
        torch.set_num_threads(before)
        _fastest[most] = min(counts, key=lambda count: best[count] * (1.0 + 0.05 * count))
        logger.info("threads: %s (%s)", _fastest[most], ", ".join(f"{n}: {1e3 * t:.1f} ms" for n, t in best.items()))
    return _fastest[most]


def choose_precision(device: torch.device) -> str:
    """`bf16` where it is at least a quarter faster than `32`."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    if device.type != "cpu":
        return "32"
    return "bf16" if _probe(device, bf16=True) < 0.8 * _probe(device, bf16=False) else "32"


def sampling_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the processor has tiles for it (AMX): a property of the machine, so that seeds repeat on it.

    The vector instructions of AVX-512 alone are slower in bfloat16 than in float32 (docs/experiments.md).
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    has_tiles = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return torch.bfloat16 if kind == "cpu" and has_tiles is not None and has_tiles() else torch.float32


@torch.inference_mode(False)
@torch.enable_grad()
def _probe(device: torch.device, *, bf16: bool) -> float:
    """Seconds of a small perceptron step, the best of a few."""
    with torch.random.fork_rng():
        network = nn.Sequential(nn.Linear(256, 768), nn.GELU(), nn.Linear(768, 256)).to(device)
        frames = torch.randn(1024, 256, device=device)
    seconds = []
    for _ in range(6):
        begin = time.perf_counter()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            loss = network(frames).float().square().mean()
        loss.backward()
        seconds.append(time.perf_counter() - begin)
    return min(seconds[1:])


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """No gradient reaches these networks' parameters inside; it still passes through them."""
    parameters = [parameter for network in networks for parameter in network.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
