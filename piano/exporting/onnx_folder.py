"""`musigan export --to onnx`: a folder with the graphs and with model.json, which composes without Python."""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

from piano.config_reader import load_config_from_yaml
from piano.exporting.composing_table import composing_table
from piano.exporting.onnx_graphs import graphs_of, in_precision, largest_difference, require_packages, to_onnx
from piano.foundation.doors import command
from piano.foundation.errors import CheckpointError
from piano.foundation.made_files import clear_leftovers, refuse_other_work, write_bytes
from piano.foundation.model_folder import holds_shipped, project_name
from piano.foundation.options import make_output_folder
from piano.foundation.receipt import model_hash
from piano.foundation.screen_text import printable
from piano.piano_model import VariationalAttentionModel
from piano.utilities import build_generator, choose_folder, load_checkpoint, not_composing_yet

TABLE = "model.json"
GRAPHS = ("endpoint", "encoder", "decoder")


class Made(NamedTuple):
    """A network that is given away, and where it came from."""

    network: VariationalAttentionModel
    name: str
    epoch: int
    sha256: str
    steps: int


def export(options: argparse.Namespace) -> None:
    """Write the folder that the command line asks for, and say how near the graphs are to PyTorch.

    Raises
    ------
    CheckpointError
        There is no such model, it does not compose yet, or the output folder holds another one.
    ConfigError
        What exporting needs is not installed, or the folder cannot be written.
    """
    require_packages()
    made = model_of(options)
    output = options.output or default_output(options, "onnx")
    claim_folder(output, [TABLE, *map(graph_name, GRAPHS)], made=made, options=options)
    write_files(output, make_files(made, GRAPHS, precision=options.precision or "full"))
    print(f"{printable(output)} is whole. docs/on-the-web.md says how music is made with it.")


def model_of(options: argparse.Namespace) -> Made:
    """The network of the command line: of a run, or one that was given away."""
    folder = choose_folder(options.checkpoints, load_config_from_yaml(options.config).checkpoint_folder)
    content = load_checkpoint(folder, "generator", options.epoch)
    if sentence := not_composing_yet(content):
        raise CheckpointError(f"{sentence}. Let the run go on before it is exported.")
    network = build_generator(content)
    steps = int(network.default_steps) if options.steps == "auto" else int(options.steps)
    state = content.get("average") or content["model"]
    return Made(network, project_name(folder), content["epoch"], model_hash(state, content["keywords"]), steps)


def default_output(options: argparse.Namespace, kind: str) -> Path:
    """Inside a run's folder; of a model that was given away, in the folder where the command is started."""
    folder = choose_folder(options.checkpoints, load_config_from_yaml(options.config).checkpoint_folder)
    name = f"exported-{kind}"
    return Path(f"{folder.name}-{kind}") if holds_shipped(folder) else folder / name


def claim_folder(output: Path, names: list[str], *, made: Made, options: argparse.Namespace) -> None:
    """Make the output folder; refuse where it holds another model, or files of these names that are none of ours."""
    make_output_folder(output)
    clear_leftovers(output)
    is_same = _model_in(output) == made.sha256
    words = [*(["--checkpoints", options.checkpoints] if options.checkpoints else []), "--to", options.to, "--output"]
    for name in names:
        refuse_other_work(
            output / name,
            is_own=lambda _: is_same,
            overwrite=options.overwrite,
            error=CheckpointError,
            advice="Name another folder, or put this one in its place:\n"
            f"  {command('export', *words, f'{output}-{made.sha256[:8]}')}\n"
            f"  {command('export', *words, output, '--overwrite')}",
        )


def _model_in(folder: Path) -> str | None:
    """Hash of the model whose export lies in a folder."""
    try:
        return json.loads((folder / TABLE).read_text(encoding="utf-8"))["model"]["sha256"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def graph_name(name: str) -> str:
    """File name of a graph."""
    return f"{name}.onnx"


def make_files(made: Made, names: tuple[str, ...], *, precision: str) -> dict[str, bytes]:
    """The graphs of these names, and model.json, as files by name; says of each how near it is to PyTorch."""
    files, rows = {}, {}
    for number, (name, graph) in enumerate(graphs_of(made.network, steps=made.steps, names=names).items(), start=1):
        print(f"graph {number} of {len(names)}: {name} ...", flush=True)
        model = in_precision(to_onnx(graph), precision, statistics=graph.statistics)
        difference = largest_difference(model, graph)
        files[graph_name(name)] = data = model.SerializeToString()
        rows[name] = {
            "file": graph_name(name),
            "bytes": len(data),
            "inputs": list(graph.inputs),
            "outputs": list(graph.outputs),
        }
        print(f"  {len(data) / 1e6:.1f} MB, differs from PyTorch by at most {difference:.2g} of the largest number")
    about = {"name": made.name, "epoch": made.epoch, "sha256": made.sha256, "precision": precision}
    table = composing_table(made.network, steps=made.steps) | {"model": about, "files": rows}
    files[TABLE] = json.dumps(table, separators=(",", ":")).encode("ascii")
    return files


def write_files(output: Path, files: dict[str, bytes]) -> None:
    """Write files; model.json comes last, for it says that the folder is whole."""
    for name in sorted(files, key=lambda name: name == TABLE):
        write_bytes(output / name, files[name])
