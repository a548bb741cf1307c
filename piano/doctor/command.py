"""`python piano/doctor/command.py RUN`; the command itself is piano/checkup/command.py."""

from piano.checkup.command import main

if __name__ == "__main__":
    raise SystemExit(main())
