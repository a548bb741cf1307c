"""Carries an old checkpoint into a changed model."""

from typing import NamedTuple

from torch import Tensor, nn

RENAMED_KEYS: dict[str, str] = {}
"""Old prefix of a state-dict key -> its new prefix; every rename in a network adds a row."""


class Update(NamedTuple):
    """What was carried over.

    state : complete state of the changed network
    carried, resized, fresh, dropped : key names
    """

    state: dict[str, Tensor]
    carried: list[str]
    resized: list[str]
    fresh: list[str]
    dropped: list[str]


def update_checkpoint(old_state: dict[str, Tensor], network: nn.Module) -> Update:
    """Fit an old state into `network`, which may have grown, shrunk or renamed parts.

    A tensor of the same shape is carried over; one of another shape is carried over where the two overlap, the rest
    keeps the network's own start; what only the network has stays fresh; what only the file has is dropped.

    Parameters
    ----------
    old_state : dict
        A checkpoint's `model` or `average`.
    network : nn.Module
        Freshly built; not changed. Load the returned `state` into it.

    Returns
    -------
    Update
    """
    renamed = {rename_key(key): value for key, value in old_state.items()}
    state = {key: value.clone() for key, value in network.state_dict().items()}
    carried, resized, fresh = [], [], []
    for key, own in state.items():
        old = renamed.get(key)
        if old is None or old.ndim != own.ndim:
            fresh.append(key)
        elif old.shape == own.shape:
            state[key] = old.to(own.dtype).clone()
            carried.append(key)
        else:
            common = tuple(slice(0, min(sizes)) for sizes in zip(own.shape, old.shape, strict=True))
            own[common] = old[common].to(own.dtype)
            resized.append(key)
    return Update(state, carried, resized, fresh, sorted(renamed.keys() - state.keys()))


def rename_key(key: str) -> str:
    """The present name of an old state-dict key."""
    for old, new in RENAMED_KEYS.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key
