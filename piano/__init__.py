"""MusiGAN's learning rooms: models, losses, training, generation."""
