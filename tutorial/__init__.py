"""Learn how GANs work, on small images: networks, training, reading the curves, and the way from there to sound."""
