"""`musigan export --to web`: a folder with a page that composes in its visitor's browser, for any static host."""

import argparse
from importlib import resources
from pathlib import Path

from piano.exporting.onnx_folder import (
    TABLE,
    claim_folder,
    default_output,
    graph_name,
    make_files,
    model_of,
    write_files,
)
from piano.exporting.onnx_graphs import require_packages
from piano.exporting.web_runtime import LICENCE_NAME, runtime_files
from piano.foundation.screen_text import printable

GRAPHS = ("endpoint", "decoder")
"""The page composes; it encodes nothing."""
SOURCES = ("index.html", "style.css", "page.js", "worker.js", "player.js", "wav.js")
MATHS = ("composer.js", "phase.js", "fft.js", "noise.js")


def export(options: argparse.Namespace) -> None:
    """Write the page, the graphs and the runtime; raises like `onnx_folder.export`, and for want of a runtime."""
    require_packages()
    made = model_of(options)
    output = options.output or default_output(options, "web")
    with runtime_files(options.runtime) as runtime:
        pages = page_sources()
        names = [TABLE, *map(graph_name, GRAPHS), *pages, *runtime]
        claim_folder(output, names, made=made, options=options)
        write_files(output, pages | runtime | make_files(made, GRAPHS, precision=options.precision or "int8"))
    say_what_to_do(output, names)


def page_sources() -> dict[str, bytes]:
    """The page's own files by name."""
    folder = resources.files("piano.exporting") / "web"
    return {name: (folder / name).read_bytes() for name in (*SOURCES, *MATHS)}


def say_what_to_do(output: Path, names: list[str]) -> None:
    """Sizes, and how to look at it."""
    sizes = {name: (output / name).stat().st_size for name in names if name != LICENCE_NAME}
    largest = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in large(sizes))
    print(f"A visitor loads {sum(sizes.values()) / 1e6:.1f} MB: {largest}")
    print(f"Look at it:\n  python -m http.server --directory {printable(output)}\nand open http://localhost:8000")


def large(sizes: dict[str, int]) -> list[tuple[str, int]]:
    """What makes up the download, the largest first."""
    return sorted(((name, size) for name, size in sizes.items() if size > 100_000), key=lambda row: -row[1])
