"""`python prepare_dataset.py ~/Music` from the project's folder; the command itself is data_prep/prepare_dataset.py."""

from data_prep.prepare_dataset import main

if __name__ == "__main__":
    raise SystemExit(main())
