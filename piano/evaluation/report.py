"""`python -m piano.evaluation.report RUN`; the command itself is piano/report/report.py."""

from piano.report.report import main

if __name__ == "__main__":
    raise SystemExit(main())
