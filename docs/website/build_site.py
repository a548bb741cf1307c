"""The site of the documents: one command, no network, and nothing that is written twice.

    python docs/website/build_site.py                    # into build/site; open build/site/index.html
    python docs/website/build_site.py --output elsewhere

Needs the extra `docs`. The pages are the documents of the project as they lie in its folders, the notebooks and the
docstrings; `site_pages.py` says which, and in what order.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from docs.website.site_content import write_content
from docs.website.site_pages import PROJECT, navigation
from piano.foundation.errors import MusiganError, run_command

HERE = Path(__file__).resolve().parent
OUTPUT = PROJECT / "build" / "site"
WORKER = "iframe-worker.js"
WORKER_ADDRESS = "https://unpkg.com/iframe-worker/shim"
"""Where the generator lets pages load what their search needs when they are opened as files; it comes along instead."""
MARK = "site.json"
"""Lies in every folder that this command made; it empties no other one."""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the site (default: build/site)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Build it, and say where it is."""
    options = parse_arguments(argv)
    return run_command(lambda: print(f"Open {build(options.output)}"))


def build(output: Path) -> Path:
    """Build the site, and return its first page.

    Parameters
    ----------
    output : Path
        A folder that is new, empty, or was made by this command.

    Raises
    ------
    MusiganError
        The extra is not installed, the folder holds something else, or a page has a fault.
    """
    if output.exists() and any(output.iterdir()) and not (output / MARK).is_file():
        raise MusiganError(f"{output} holds something else: choose a new folder with --output")
    with tempfile.TemporaryDirectory(prefix="musigan-site-") as name:
        work = Path(name)
        pages = write_content(work / "content")
        folders = {"docs_dir": "content", "site_dir": "site", "nav": navigation(pages)}
        config = (HERE / "zensical.yml").read_text(encoding="utf-8") + yaml.safe_dump(folders, sort_keys=False)
        (work / "mkdocs.yml").write_text(config, encoding="utf-8")
        _run_generator(work)
        _without_other_hosts(work / "site")
        (work / "site" / MARK).write_text(f'{{"pages": {len(pages)}}}\n', encoding="utf-8")
        if output.exists():
            shutil.rmtree(output)
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(work / "site", output)
    return output / "index.html"


def _without_other_hosts(site: Path) -> None:
    """Let every page load what its search needs from the site itself."""
    shutil.copyfile(HERE / WORKER, site / WORKER)
    for page in site.rglob("*.html"):
        near = os.path.relpath(site / WORKER, page.parent).replace(os.sep, "/")
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace(WORKER_ADDRESS, near), encoding="utf-8")


def _run_generator(work: Path) -> None:
    """Zensical on a folder with a config; a warning of it is an error."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "NO_COLOR": "1"}
    run = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
    said = re.sub(r"\x1b\[[\d;]*m", "", f"{run.stdout}\n{run.stderr.partition('Traceback')[0]}").strip()
    if "No module named zensical" in run.stderr:
        raise MusiganError('the site needs the extra docs: pip install -c constraints.txt -e ".[docs]"')
    if run.returncode or "Warning" in said:
        raise MusiganError(f"the site was not built: {said}")


if __name__ == "__main__":
    sys.exit(main())
