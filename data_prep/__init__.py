"""From a folder of music to training pairs."""
