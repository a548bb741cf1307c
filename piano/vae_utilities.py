"""Everything that writes a checkpoint."""

from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from piano.foundation.checkpoint_format import checkpoint_path, is_plain, write_checkpoint
from piano.foundation.errors import CheckpointError


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
        Of the file.

    Raises
    ------
    CheckpointError
        The disk refuses it, or the network was built from something that no checkpoint can hold.
    """
    keywords = cast(dict[str, Any], network.keywords)
    for name, value in keywords.items():
        if not is_plain(value):
            raise CheckpointError(
                f"the {role} was built with {name}={value!r}, which a checkpoint cannot hold. "
                "A keyword must be a number from 0 on, a short list of numbers, or a short name."
            )
    path = checkpoint_path(folder, role, epoch)
    write_checkpoint(
        path,
        {
            "role": role,
            "epoch": epoch,
            "keywords": keywords,
            "model": network.state_dict(),
            "average": average,
            "optimizers": optimizers or {},
            "run": run or {},
        },
    )
    return path
