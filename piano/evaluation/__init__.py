"""How good is it? Reads checkpoints, audio and logs; never trains."""
