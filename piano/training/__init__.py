"""A run of training: clock, log, loop, data, what it keeps, and the game that its stages play."""
