"""The best of several pieces: the one whose styles are nearest to those of the training music.

All are composed as latents, which costs a small part of making them sound. A window's style is measured, and the
distance to the nearest style of the training music says how unusual it is. No judge is needed, which given-away models
have none of. It leaves out strays; a set of such pieces is less varied, and scores no better (docs/experiments.md).
"""

import torch

from piano.composer import Composer
from piano.foundation.errors import ConfigError
from piano.latent_style import SHORTEST_SECONDS, Style
from piano.song_form import SongForm


def best_item(
    composer: Composer,
    items: range,
    seconds: float,
    *,
    style: Style | None = None,
    until: Style | None = None,
    form: SongForm | None = None,
) -> int:
    """Which of some items has styles that are nearest to the training music's; see `Composer.stream`.

    Raises
    ------
    ConfigError
        They are too short to have a style.
    """
    if seconds < SHORTEST_SECONDS:
        raise ConfigError(
            f"the best of several is chosen by its style, which pieces of {SHORTEST_SECONDS:g} s and more have; "
            f"{seconds:g} s were asked for."
        )
    found = {
        item: unlikeness(composer, composer.latents(seconds, style=style, until=until, form=form, item=item))
        for item in items
    }
    return min(found, key=lambda item: (found[item], item))


@torch.inference_mode()
def unlikeness(composer: Composer, latents: torch.Tensor) -> float:
    """Mean distance of the windows of latents (1, frames, latent_dim) to the nearest style of the training music."""
    network = composer.generator
    window = min(network.latent_seq_len, latents.shape[1])
    windows = latents[0].unfold(0, window, max(window // 2, 1)).transpose(1, 2)
    vectors = network.style.describe(windows).vector
    return float(torch.cdist(vectors, network.style.anchors).amin(dim=1).mean())
