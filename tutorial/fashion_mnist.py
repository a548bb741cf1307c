"""Fashion-MNIST: pictures of clothes, 28 x 28 grey pixels, from the project's subset or from the full set's files."""

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from piano.foundation.errors import DatasetError

SUBSET_PATH = Path(__file__).resolve().parent / "fashion-mnist-10k.npz"
HELD_OUT = 2_000
"""Pictures of the subset that no GAN learns from: what is generated is compared with them."""
CLASS_NAMES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
SIDE = 28
IMAGE_DIMENSIONS, LABEL_DIMENSIONS = 3, 1


class ImageSet(NamedTuple):
    """Pictures and what they show."""

    images: Tensor
    """Pixels in [-1, 1] [shape=(pictures, 1, 28, 28)]."""
    labels: Tensor
    """Index into CLASS_NAMES [shape=(pictures,)]."""


class FashionMnist(NamedTuple):
    """Pictures to learn from, and pictures kept aside."""

    training: ImageSet
    held_out: ImageSet


def load_fashion_mnist(folder: Path | str | None = None) -> FashionMnist:
    """Read the pictures; nothing is ever downloaded.

    Parameters
    ----------
    folder : Path, optional
        With the four files of the full set (`train-images-idx3-ubyte.gz` and so on, or unpacked): 60,000 pictures to
        learn from and 10,000 aside. By default the project's subset: 8,000 and 2,000.

    Raises
    ------
    DatasetError
        If a file is missing or is not what its name says.
    """
    if folder is not None:
        return FashionMnist(_read_full(Path(folder), "train"), _read_full(Path(folder), "t10k"))
    try:
        with np.load(SUBSET_PATH, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except (OSError, ValueError, KeyError, zlib.error) as error:
        raise DatasetError(f"{SUBSET_PATH} cannot be read ({error}): get the project again.") from None
    return FashionMnist(
        _image_set(images[HELD_OUT:], labels[HELD_OUT:]), _image_set(images[:HELD_OUT], labels[:HELD_OUT])
    )


def normalise(pixels: NDArray[np.uint8]) -> Tensor:
    """Grey values 0 to 255 as a network wants them: -1 to 1, the range of the generator's tanh.

    Parameters
    ----------
    pixels : array [shape=(pictures, 28, 28)]

    Returns
    -------
    Tensor [shape=(pictures, 1, 28, 28)]
    """
    return torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1.0).unsqueeze(1)


def build_loader(
    images: Tensor, batch_size: int = 64, *, images_per_epoch: int | None = None, seed: int = 0
) -> DataLoader:
    """Batches in a new order every epoch; the last, incomplete one is left out. Each is a list of one tensor.

    Parameters
    ----------
    images : Tensor [shape=(pictures, 1, 28, 28)]
    batch_size : int
    images_per_epoch : int, optional
        Drawn anew for every epoch, no picture twice; all of them by default.
    seed : int
        Of the order, for loops of your own (`train_gan` chooses the order by its own seed).

    Raises
    ------
    DatasetError
        If there are fewer pictures than one batch or one epoch holds.
    """
    wanted = len(images) if images_per_epoch is None else images_per_epoch
    if not batch_size <= wanted <= len(images):
        raise DatasetError(
            f"{len(images)} pictures cannot give epochs of {wanted} in batches of {batch_size}: "
            "give more pictures, or a smaller images_per_epoch or batch_size."
        )
    order = torch.Generator().manual_seed(seed)
    pictures = TensorDataset(images)
    sampler = RandomSampler(pictures, num_samples=wanted, generator=order)
    return DataLoader(pictures, batch_size=batch_size, sampler=sampler, drop_last=True, generator=order)


def _image_set(images: NDArray, labels: NDArray) -> ImageSet:
    return ImageSet(normalise(images), torch.from_numpy(labels.astype(np.int64)))


def _read_full(folder: Path, split: str) -> ImageSet:
    images = _read_idx(folder / f"{split}-images-idx3-ubyte", dimensions=IMAGE_DIMENSIONS)
    labels = _read_idx(folder / f"{split}-labels-idx1-ubyte", dimensions=LABEL_DIMENSIONS)
    if images.shape[1:] != (SIDE, SIDE) or len(images) != len(labels) or labels.max(initial=0) >= len(CLASS_NAMES):
        raise DatasetError(
            f"the {split} files in {folder} are not Fashion-MNIST: {images.shape} pictures, {len(labels)} labels."
        )
    return _image_set(images, labels)


def _read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """An array of bytes in the IDX format: 0 0 8 (bytes), the number of dimensions, their sizes, the values."""
    packed = path.with_name(f"{path.name}.gz")
    try:
        content = gzip.decompress(packed.read_bytes()) if packed.is_file() else path.read_bytes()
    except FileNotFoundError:
        raise DatasetError(
            f"no {packed.name} in {path.parent}. Put the four files of Fashion-MNIST there, "
            "or leave the folder out to use the subset that comes with the project."
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{packed} is damaged: {error}. Get the file again.") from None
    begin = 4 + 4 * dimensions
    shape = np.frombuffer(content[4:begin], ">u4").astype(int) if len(content) >= begin else np.zeros(0, int)
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) - begin != np.prod(shape):
        raise DatasetError(f"{path} is not a whole IDX file of {dimensions} dimensions. Get the file again.")
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)
