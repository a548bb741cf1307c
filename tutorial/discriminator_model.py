"""The discriminator: a picture in, one number out that says how real it looks."""

from torch import Tensor, nn


class Discriminator(nn.Module):
    """A small discriminator in the manner of DCGAN (arXiv 1511.06434): halve the size twice, then weigh everything up.

    Other than there it has no batch norm, so that the verdict on a picture does not depend on the others in its batch,
    and starts with PyTorch's own weights, which suit layers without it. Dropout keeps it from learning the training
    pictures by heart (Srivastava et al. 2014, JMLR 15).

    Parameters
    ----------
    channels : int
        Feature maps of the first layer; the second has twice as many.
    dropout : float
        Share of the last features that are blanked out while it learns.
    """

    def __init__(self, channels: int = 32, dropout: float = 0.3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, 4, stride=2, padding=1),  # 14 x 14
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),  # 7 x 7
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * channels * 7 * 7, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Judge pictures.

        Parameters
        ----------
        images : Tensor [shape=(batch, 1, 28, 28)]
            Pixels in [-1, 1].

        Returns
        -------
        Tensor [shape=(batch, 1)]
            Logits: their sigmoid is the probability that a picture is real.
        """
        return self.layers(images)


def create_discriminator() -> Discriminator:
    """A new discriminator; `torch.manual_seed` before it makes its starting weights repeatable."""
    return Discriminator()
