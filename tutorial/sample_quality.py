"""How good are the pictures? A small classifier of clothes looks at them, and at real ones it never saw."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from piano.evaluation.distances import FeatureScale, kernel_distance, real_floor
from tutorial.fashion_mnist import CLASS_NAMES, FashionMnist, ImageSet

FEATURES = 64
DISTANCE_IMAGES = 1_000
"""Pictures on either side of a kernel distance."""


class ClothesClassifier(nn.Module):
    """Names what a picture shows; the layer before the last serves as its features."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, len(CLASS_NAMES))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the classes [shape=(batch, 10)] for pictures [shape=(batch, 1, 28, 28)]."""
        return self.head(self.body(images))


def train_classifier(training: ImageSet, *, epochs: int = 4, seed: int = 0) -> ClothesClassifier:
    """Train on labelled pictures (Adam, 1e-3, batches of 64); the same seed gives the same classifier."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = ClothesClassifier()
        optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)
        for _ in range(epochs):
            for batch in torch.randperm(len(training.images)).split(64):
                loss = functional.cross_entropy(classifier(training.images[batch]), training.labels[batch])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
    return classifier.eval()


@torch.no_grad()
def accuracy(classifier: ClothesClassifier, images: ImageSet) -> float:
    """Share of pictures that are named rightly."""
    return float((classifier(images.images).argmax(dim=1) == images.labels).float().mean())


class Quality(NamedTuple):
    """What can be said about a set of pictures."""

    confidence: float
    """Mean probability of the class that the classifier chose: blurred in-betweens make it doubt."""
    classes: float
    """How many classes there are, in effect: exp of the entropy of their shares. 10: all alike often; 1: one only."""
    distance: float
    """Kernel distance of the features to those of held-out real pictures; 0 for other real ones, up to chance."""
    nearest: float
    """Median distance to the nearest training picture, over that of held-out ones: far below 1 means copies."""
    shares: list[float]
    """Of each class."""


class QualityRuler:
    """Measures sets of pictures against held-out real ones.

    Parameters
    ----------
    classifier : ClothesClassifier
        Trained on the training pictures.
    data : FashionMnist
        At least 2000 held-out pictures: the first half of 1000 to compare with, the second to be the control.
    """

    def __init__(self, classifier: ClothesClassifier, data: FashionMnist) -> None:
        self.classifier = classifier
        self.reference = data.held_out.images[:DISTANCE_IMAGES]
        self.control = data.held_out.images[DISTANCE_IMAGES : 2 * DISTANCE_IMAGES]
        self.training = data.training.images.flatten(1)
        features = self.features(data.held_out.images[: 2 * DISTANCE_IMAGES])
        self.scale = FeatureScale.fit(features)
        self.scaled_reference = self.scale.transform(features[:DISTANCE_IMAGES])
        self.floor, self.floor_spread = real_floor(self.scale.transform(features))
        """Kernel distance of real pictures to other real ones, and its standard deviation: less is chance."""
        self.usual_nearest = self._nearest(self.control)

    @torch.no_grad()
    def features(self, images: Tensor) -> np.ndarray:
        """What the classifier sees in pictures [shape=(pictures, 64)]."""
        return self.classifier.body(images).numpy()

    @torch.no_grad()
    def measure(self, images: Tensor) -> Quality:
        """Measure pictures [shape=(pictures, 1, 28, 28)]; the first 1000 serve for the distance."""
        images = images[:DISTANCE_IMAGES]
        probabilities = self.classifier(images).softmax(dim=1)
        counts = torch.bincount(probabilities.argmax(dim=1), minlength=len(CLASS_NAMES)).double()
        shares = counts / counts.sum()
        entropy = -(shares * shares.clamp_min(1e-12).log()).sum()
        return Quality(
            confidence=float(probabilities.max(dim=1).values.mean()),
            classes=float(entropy.exp()),
            distance=kernel_distance(self.scale.transform(self.features(images)), self.scaled_reference),
            nearest=self._nearest(images) / self.usual_nearest,
            shares=shares.tolist(),
        )

    def _nearest(self, images: Tensor) -> float:
        return float(torch.cdist(images[:256].flatten(1), self.training).min(dim=1).values.median())


def describe_quality(rows: dict[str, Quality]) -> str:
    """A table of measured sets."""
    head = f"{'':26} confidence  classes  distance  nearest"
    lines = [
        f"{name:26} {q.confidence:10.2f} {q.classes:8.1f} {q.distance:9.4f} {q.nearest:8.2f}"
        for name, q in rows.items()
    ]
    return "\n".join([head, *lines])
