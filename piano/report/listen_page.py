"""The old name of the listening report, kept for one release: takes the old options and calls report.py."""

import argparse
import sys
from pathlib import Path

from piano.foundation import options as kinds
from piano.foundation.doors import fill, program
from piano.foundation.screen_text import CommandParser
from piano.report import report

EXAMPLE = """example:
  python -m piano.report.listen_page --music music_out --checkpoints checkpoints --output listen.html"""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog=program("listen"), description=__doc__, epilog=fill(EXAMPLE))
    add = parser.add_argument
    add("--music", type=Path, default=Path("music_out"), help="folder of generated sounds (default: %(default)s)")
    add("--checkpoints", type=Path, default=Path("checkpoints"), help="folder of the run (default: %(default)s)")
    add("--real", type=Path, help="folder of real music to compare with (default: none)")
    add("--output", type=Path, default=Path("listen.html"), help="the page to write (default: %(default)s)")
    add(
        "--max-seconds",
        type=kinds.seconds,
        default=60.0,
        help="show no more of a sound than this (default: %(default)s)",
    )
    add("--title", default="MusiGAN", help="headline of the page (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Write the report with the old options; see `--help`."""
    options = parse_arguments(argv)
    print("musigan listen is now musigan report; the old name goes with version 0.2.", file=sys.stderr)
    arguments = [
        str(options.checkpoints),
        "--music",
        str(options.music),
        "--output",
        str(options.output),
        "--max-seconds",
        str(options.max_seconds),
        "--title",
        options.title,
        "--copies",
        "no",
    ]
    if options.real is not None:
        arguments += ["--real", str(options.real)]
    return report.main(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
