"""The generator: noise in, a picture of 28 x 28 pixels out."""

from torch import Tensor, nn


class Generator(nn.Module):
    """A small DCGAN generator (Radford et al. 2015, arXiv 1511.06434): project, then double the size twice.

    Parameters
    ----------
    latent_dim : int
        Numbers of noise that one picture is made from.
    channels : int
        Feature maps of the last hidden layer; the one before has twice as many.
    """

    def __init__(self, latent_dim: int = 100, channels: int = 32) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, 2 * channels * 7 * 7, bias=False),  # the batch norm after it has a bias of its own
            nn.Unflatten(1, (2 * channels, 7, 7)),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1, bias=False),  # 14 x 14
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, 1, 4, stride=2, padding=1),  # 28 x 28
            nn.Tanh(),
        )

    def forward(self, noise: Tensor) -> Tensor:
        """Make pictures.

        Parameters
        ----------
        noise : Tensor [shape=(batch, latent_dim)]
            Standard normal.

        Returns
        -------
        Tensor [shape=(batch, 1, 28, 28)]
            Pixels from -1 (black) to 1 (white).
        """
        return self.layers(noise)


def create_generator(latent_dim: int = 100) -> Generator:
    """A new generator with the starting weights of DCGAN; `torch.manual_seed` before it makes them repeatable."""
    generator = Generator(latent_dim)
    generator.apply(start_weights)
    return generator


def start_weights(module: nn.Module) -> None:
    """Draw a layer's weights from N(0, 0.02), a batch norm's from N(1, 0.02) (arXiv 1511.06434, section 4)."""
    if isinstance(module, nn.Linear | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
