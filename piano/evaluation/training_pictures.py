"""`python -m piano.evaluation.training_pictures RUN`; the command itself is piano/watching/training_pictures.py."""

from piano.watching.training_pictures import main

if __name__ == "__main__":
    raise SystemExit(main())
