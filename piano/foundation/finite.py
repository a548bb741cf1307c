"""NaN and infinity stop where they are met: in a file, or on the way out of a network."""

from collections.abc import Mapping

import torch
from torch import Tensor

from piano.foundation.errors import CheckpointError


def require_finite(values: Tensor, what: str) -> Tensor:
    """What a network gave, as it is.

    Parameters
    ----------
    values : Tensor
        Of any shape.
    what : str
        What these are, for the sentence.

    Raises
    ------
    CheckpointError
        NaN or infinity is among them: no sound can be made of that.
    """
    if not bool(torch.isfinite(values).all()):
        raise CheckpointError(
            f"the model makes {what} that are not finite: its weights are damaged, or its training diverged. "
            "Take another epoch, or train again with lower learning rates."
        )
    return values


def not_finite(state: Mapping[str, Tensor]) -> str | None:
    """The first tensor that holds NaN or infinity, or a kind of number that cannot be told; None if all are well."""
    for name, value in state.items():
        try:
            floating = value if value.dtype in (torch.float32, torch.float64) else value.float()
            if (value.is_floating_point() or value.is_complex()) and not bool(torch.isfinite(floating).all()):
                return name
        except (RuntimeError, TypeError, NotImplementedError):
            return name
    return None
