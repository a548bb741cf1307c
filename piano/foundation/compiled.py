"""Whether the compiled inner loops can be used in this process, and when: nobody waits for a compiler who plays live.

numba compiles them for this processor once, which takes seconds, and keeps them in its cache. Later processes load
them in the time of a second, in a thread of their own while the model is read. Where numba is missing, too new for
this Python, or cannot write its cache, everything is computed by PyTorch: slower, the same up to rounding. A process
decides once, so that no stream changes its numbers in the middle.
"""

import contextlib
import hashlib
import importlib
import logging
import os
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from piano.foundation.layer_kernels import LayerKernels
    from piano.foundation.level_kernels import LevelKernels
    from piano.foundation.phase_kernels import PhaseKernels

SWITCH = "MUSIGAN_COMPILED"
"""Environment variable: 0 leaves everything to PyTorch."""
MODULES = ("vector_math", "phase_kernels", "level_kernels", "layer_kernels")
FILL_COMMAND = "piano.foundation.compiled"
logger = logging.getLogger(__name__)


class Kernels(NamedTuple):
    """The compiled inner loops."""

    phase: "PhaseKernels"
    levels: "LevelKernels"
    layers: "LayerKernels"


_lock = threading.Lock()
_loader: threading.Thread | None = None
_loaded: Kernels | None = None


def prepare() -> None:
    """Begin to load the kernels, in a thread; the first call in a process decides. See `is_compiled`."""
    global _loader
    with _lock:
        if _loader is None:
            _loader = threading.Thread(target=_load, name="load kernels", daemon=True)
            _loader.start()


def is_ready() -> bool:
    """Whether `kernels` answers at once."""
    return _loader is not None and not _loader.is_alive()


def kernels() -> Kernels | None:
    """The kernels, or None where this process goes without; waits until they are loaded. See `prepare`."""
    prepare()
    assert _loader is not None
    _loader.join()
    return _loaded


def in_use() -> str:
    """What computes the inner loops of this process: numba's version, or torch."""
    return "torch" if _loaded is None else f"numba {version('numba')}"


def is_switched_off() -> bool:
    """Whether the user wants no compiled loops."""
    return os.environ.get(SWITCH) == "0" or os.environ.get("NUMBA_DISABLE_JIT", "0") != "0"


def _load() -> None:
    global _loaded
    if is_switched_off():
        return
    try:
        _loaded = compile_all()
    except Exception as error:
        # Whatever numba, its compiler or its cache may say: there is always the other way.
        logger.info("the compiled loops cannot be used, PyTorch's are: %s", error)


def compile_all() -> Kernels:
    """Load the kernels, compiling what the cache does not hold; raises what numba raises."""
    mark = _mark()
    if not mark.exists():
        logger.warning("Compiling the inner loops for this processor: about 15 seconds, once.")
        for name in MODULES[1:]:  # numba would not see a change in a module that these take functions from
            for index in mark.parent.rglob(f"{name}.*.py{sys.version_info[0]}{sys.version_info[1]}*.nbi"):
                index.unlink(missing_ok=True)
    phase, levels, layers = (importlib.import_module(f"piano.foundation.{name}") for name in MODULES[1:])
    with contextlib.suppress(OSError):  # without the mark the next process that may not wait goes without
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    return Kernels(phase.PhaseKernels(), levels.LevelKernels(), layers.LayerKernels())


def is_compiled() -> bool:
    """Whether these kernels were compiled on this processor before, and kept."""
    return _mark().exists()


def compile_in_background() -> None:
    """Let another process fill the cache; it ends by itself after some seconds."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    nobody = subprocess.DEVNULL
    filling = subprocess.Popen(
        [sys.executable, "-m", FILL_COMMAND],
        env=environment,
        start_new_session=True,
        stdin=nobody,
        stdout=nobody,
        stderr=nobody,
    )
    threading.Thread(target=filling.wait, name="compiling", daemon=True).start()  # else its end would be kept for us


def _mark() -> Path:
    """The empty file that says that the cache is filled, where numba has it, or in the user's cache folder."""
    here = Path(__file__).resolve().parent
    sources = [here / f"{name}.py" for name in MODULES]
    stamps = [f"{source.stat().st_mtime_ns} {source.stat().st_size}" for source in sources]
    key = [*stamps, sys.version, version("numba"), version("llvmlite"), _processor()]
    name = f"kernels-{hashlib.blake2b(repr(key).encode(), digest_size=8).hexdigest()}"
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"]) / name
    beside = here / "__pycache__"
    if os.access(beside if beside.exists() else here, os.W_OK):
        return beside / name
    cache = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(cache) if cache else Path.home() / ".cache") / "musigan" / name


def _processor() -> str:
    """Name and abilities of the processor, for which code is compiled."""
    from llvmlite import binding

    return f"{binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"


if __name__ == "__main__":
    compile_all()
