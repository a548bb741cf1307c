"""Lets `import piano` work when a script is run from inside this folder."""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parent.parent)]
