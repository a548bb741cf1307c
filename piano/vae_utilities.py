"""Everything that writes a checkpoint."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from piano.foundation.checkpoint_format import checkpoint_path, write_checkpoint


def save_checkpoint(
    network: nn.Module,
    epoch: int,
    folder: Path,
    role: str,
    *,
    optimizers: dict[str, Any] | None = None,
    average: dict[str, Tensor] | None = None,
    run: dict[str, Any] | None = None,
) -> Path:
    """Write one network, atomically.

    Parameters
    ----------
    network : nn.Module
        With `.keywords`, what it was built from.
    epoch : int
    folder : Path
    role : str
        `generator` or `discriminator`.
    optimizers : dict, optional
        Name -> optimiser state.
    average : dict, optional
        Averaged weights (EMA), the ones that generate.
    run : dict, optional
        Where the run stands: stage, steps, clocks, controllers.

    Returns
    -------
    Path
        Of the file; raises CheckpointError if the disk refuses it.
    """
    path = checkpoint_path(folder, role, epoch)
    write_checkpoint(
        path,
        {
            "role": role,
            "epoch": epoch,
            "keywords": network.keywords,
            "model": network.state_dict(),
            "average": average,
            "optimizers": optimizers or {},
            "run": run or {},
        },
    )
    return path
