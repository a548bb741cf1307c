"""Plays a model in the browser: endless music whose controls are heard at once, and a library of takes."""
