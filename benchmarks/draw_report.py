"""The head of a report as a browser shows it: the picture in README.md.

    musigan report shipped --output shipped.html
    python benchmarks/draw_report.py shipped.html --output docs/pictures/report.png

Chromium must be installed.
"""

import argparse
import base64
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.browser import chromium, find_chromium

COLOURS = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--width", type=int, default=1080, help="of the window, in pixels (default: 1080)")
    parser.add_argument("--height", type=int, default=760, help="of the picture (default: 760)")
    options = parser.parse_args()
    program = find_chromium()
    if program is None:
        parser.error("there is no Chromium here")
    with tempfile.TemporaryDirectory() as profile, chromium(program, Path(profile)) as browser:
        browser.open(options.page)
        browser.set_width(options.width, height=options.height)
        shot = browser.send("Page.captureScreenshot", format="png")["data"]
    image = Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB")
    image.quantize(COLOURS).save(options.output, optimize=True)
    print(options.output)


if __name__ == "__main__":
    main()
