"""`python piano_main.py` from the project's folder; the command itself is piano/piano_main.py."""

from piano.piano_main import main

if __name__ == "__main__":
    raise SystemExit(main())
