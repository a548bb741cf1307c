"""Carries an old checkpoint into a changed model."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from piano.foundation.optional_buffers import OptionalBuffers

RENAMED_KEYS: dict[str, str] = {
    "autoencoder.embed.": "autoencoder.encoder.embed.",
    "autoencoder.encoder_blocks.": "autoencoder.encoder.blocks.",
    "autoencoder.encoder_norm.": "autoencoder.encoder.norm.",
    "autoencoder.to_posterior.": "autoencoder.encoder.to_posterior.",
    "autoencoder.from_latent.": "autoencoder.decoder.from_latent.",
    "autoencoder.decoder_blocks.": "autoencoder.decoder.blocks.",
    "autoencoder.decoder_norm.": "autoencoder.decoder.norm.",
    "autoencoder.head.": "autoencoder.decoder.head.",
}
"""Old prefix of a state-dict key -> its new prefix; every rename in a network adds a row."""

STANDS_FOR: dict[str, str] = {"textures.codec.": "textures.flow."}
"""Prefix of what a network of before did not have -> prefix of what of its state stands for that."""


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
    renamed = with_present_names(old_state)
    state, carried, resized, fresh = {}, [], [], []
    for key, own in network.state_dict().items():
        old = renamed.get(key)
        if old is not None and old.shape == own.shape:
            state[key] = old.to(own.dtype, copy=True)
            carried.append(key)
            continue
        state[key] = own.clone()
        if old is None or old.ndim != own.ndim:
            fresh.append(key)
        else:
            common = tuple(slice(0, min(sizes)) for sizes in zip(own.shape, old.shape, strict=True))
            state[key][common] = old[common].to(own.dtype)
            resized.append(key)
    for key, shape in optional_keys(network).items():
        if key in renamed and key not in state and tuple(renamed[key].shape) == shape:
            state[key] = renamed[key].clone()
            carried.append(key)
    return Update(state, carried, resized, fresh, sorted(renamed.keys() - state.keys()))


def optional_keys(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Key and shape of what a network takes from a state that has it, and need not have."""
    return {
        f"{prefix}.{name}".removeprefix("."): shape
        for prefix, module in network.named_modules()
        if isinstance(module, OptionalBuffers)
        for name, shape in module.optional_shapes().items()
    }


def with_present_names(value: Any) -> Any:
    """A state, or anything plain that holds states, with the keys that it would have today."""
    if isinstance(value, dict):
        renamed = {
            rename_key(key) if isinstance(key, str) else key: with_present_names(inside)
            for key, inside in value.items()
        }
        return stand_ins(renamed) | renamed
    return [with_present_names(inside) for inside in value] if isinstance(value, list) else value


def stand_ins(state: Mapping[Any, Any]) -> dict[str, Any]:
    """What stands for parts that a state does not have; see `STANDS_FOR`."""
    return {
        missing + key.removeprefix(there): value
        for missing, there in STANDS_FOR.items()
        for key, value in state.items()
        if isinstance(key, str) and key.startswith(there)
    }


def renamed_in_words(state: Mapping[str, Any]) -> str:
    """What loading an old state changes, for the user; empty where its names are today's."""
    old = [key for key in state if rename_key(key) != key]
    if not old:
        return ""
    return (
        f"an earlier version saved it: {len(old)} of its {len(state)} tensors have other names now and are carried over"
    )


def rename_key(key: str) -> str:
    """The present name of an old state-dict key."""
    for old, new in RENAMED_KEYS.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key
