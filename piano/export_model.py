"""From a checkpoint to a model folder that can be given away: weights, card, licence, samples; or to other programs."""

import argparse
import importlib
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from piano.composer import Composer, Sampling
from piano.config_reader import load_config_from_yaml
from piano.discriminator import Discriminator_with_mdisc
from piano.foundation import options as kinds
from piano.foundation.checkpoint_format import find_epoch
from piano.foundation.doors import command, fill, program
from piano.foundation.errors import CheckpointError, run_command
from piano.foundation.made_files import clear_leftovers, refuse_other_work
from piano.foundation.model_folder import holds_shipped, named_folder
from piano.foundation.options import make_output_folder
from piano.foundation.randomness import keyed_noise
from piano.foundation.receipt import model_hash
from piano.foundation.screen_text import CommandParser, printable, wrapped
from piano.foundation.shipped_format import read_shipped, shipped_path, write_shipped
from piano.giveaway import SAMPLE_SECONDS, SAMPLES, Giveaway, Wishes, read_wishes
from piano.piano_model import VariationalAttentionModel
from piano.utilities import ANY_EPOCH, build, build_generator, load_checkpoint, load_generator, not_composing_yet

KINDS = {"generator": VariationalAttentionModel, "discriminator": Discriminator_with_mdisc}
FORMATS = {
    "nn~": "piano.exporting.nn_tilde",
    "neutone": "piano.exporting.neutone",
    "onnx": "piano.exporting.onnx_folder",
    "web": "piano.exporting.web_folder",
}
"""For other programs: modules whose `export(options)` writes that format, imported only when it is asked for."""
ONLY_FOR: dict[str, tuple[str, ...]] = {
    "--licence": ("safetensors",),
    "--about": ("safetensors",),
    "--samples": ("safetensors",),
    "--with-discriminator": ("safetensors",),
    "--half": ("safetensors", "onnx", "web"),
    "--int8": ("onnx", "web"),
    "--steps": ("onnx", "web"),
    "--runtime": ("web",),
}
"""Options that mean something for some formats only."""
EXPORTED = "exported"
EXAMPLE = """examples:
  {musigan export} --half
  {musigan export} --checkpoints demo/checkpoints --epoch 27 --output my_model --licence CC-BY-4.0
  {musigan verify} my_model
  {musigan export} --checkpoints shipped --to web --output page
  {musigan export} --checkpoints shipped --to nn~ --output piano.ts
"""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog=program("export"), description=__doc__, epilog=fill(EXAMPLE))
    kinds.add_shared(parser, "--config")
    kinds.add_shared(parser, "--checkpoints", help="folder of a run (default: the config's checkpoint_folder)")
    kinds.add_shared(parser, "--epoch")
    parser.add_argument(
        "--to",
        choices=("safetensors", *FORMATS),
        default="safetensors",
        help="safetensors: to go on with here; nn~: a file for Max and Pure Data; neutone: one for Neutone Gen; onnx: "
        "graphs and model.json for any program; web: a page that composes in the browser (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder to write to, or the file of nn~ and neutone (default: exported inside the run's folder; a file is "
        "called after the model)",
    )
    parser.add_argument(
        "--half",
        action="store_const",
        const="half",
        dest="precision",
        help="weights in half precision, statistics as they are (default: all as they are; for web: --int8)",
    )
    parser.add_argument(
        "--int8",
        action="store_const",
        const="int8",
        dest="precision",
        help="weights of onnx and web in 8 bits (default: as they are)",
    )
    kinds.add_shared(
        parser, "--steps", help="of onnx and web: sampling steps, or auto, what scored best (default: auto)"
    )
    parser.add_argument(
        "--runtime", type=Path, help="of web: an unpacked onnxruntime-web (default: npm brings the known version)"
    )
    parser.add_argument(
        "--with-discriminator",
        action="store_true",
        help="write the judges too: fine-tuning goes on with them, playing needs none (default: not)",
    )
    parser.add_argument(
        "--licence",
        metavar="TEXT_OR_FILE",
        help="what others may do with it: a file, a name such as CC-BY-4.0, or a sentence (default: that none was "
        "chosen, so that nobody may use it yet)",
    )
    parser.add_argument(
        "--about",
        metavar="TEXT_OR_FILE",
        help="for the card: what music it learned from, and who made that (default: that nobody has said)",
    )
    parser.add_argument(
        "--samples",
        type=kinds.natural_int,
        default=SAMPLES,
        help=f"compositions of {SAMPLE_SECONDS:g} s that go with it, of seeds 0, 1 ... (default: {SAMPLES})",
    )
    kinds.add_shared(
        parser,
        "--overwrite",
        help="replace another model, or files of yours, that lie in the output folder (default: that is refused)",
    )
    options = parser.parse_args(argv)
    written = {"--half": options.precision == "half", "--int8": options.precision == "int8"}
    for option, formats in ONLY_FOR.items():
        name = option[2:].replace("-", "_")
        is_given = written.get(option) or (option not in written and getattr(options, name) != parser.get_default(name))
        if is_given and options.to not in formats:
            parser.error(f"{option} is for --to {' and '.join(formats)}; --to {options.to} has no use for it")
    return options


def main(argv: list[str] | None = None) -> int:
    """Write the model's files."""
    options = parse_arguments(argv)

    def body() -> None:
        if options.to in FORMATS:
            importlib.import_module(FORMATS[options.to]).export(options)
            return
        folder = options.checkpoints or load_config_from_yaml(options.config).checkpoint_folder
        folder = named_folder(folder)
        output = options.output or folder / EXPORTED
        export_model(
            folder,
            options.epoch,
            output,
            half=options.precision == "half",
            overwrite=options.overwrite,
            with_discriminator=options.with_discriminator,
            wishes=read_wishes(options.licence, options.about, options.samples),
        )

    return run_command(body)


def export_model(
    folder: Path,
    epoch: int | str,
    output: Path,
    *,
    half: bool = False,
    overwrite: bool = False,
    with_discriminator: bool = False,
    wishes: Wishes | None = None,
) -> None:
    """Write the averaged generator of one epoch and all that belongs to it to `output`, and say what was written.

    Parameters
    ----------
    folder, output : Path
    epoch : int or str
        See `load_checkpoint`.
    half : bool
        Store matrices in half precision. Vectors (norms, biases), the mean spectrum and the normaliser stay exact: they
        are small, and an error there shifts everything.
    overwrite : bool
        Replace another model in `output`, and files that no export wrote; what an earlier export of the same model
        wrote is replaced in any case.
    with_discriminator : bool
        Write the judges too.
    wishes : Wishes, optional
        What else goes with it: licence, words for the card, samples.

    Raises
    ------
    CheckpointError
        A network is not there; `folder` holds an exported model; `output` holds another model, or other files of the
        same names; or the epoch has not begun to compose and was not asked for by its number.
    """
    if holds_shipped(folder):
        raise CheckpointError(
            f"{printable(folder)} holds a model as it is given away already, and no run: copy that folder instead."
        )
    is_named = epoch not in ANY_EPOCH
    epoch = find_epoch(folder, "generator", epoch)
    roles = [role for role in KINDS if role == "generator" or with_discriminator]
    contents = {role: load_checkpoint(folder, role, epoch) for role in roles}  # all are there, or nothing is written
    words: list[object] = ["--checkpoints", folder, "--epoch", epoch]
    wishes = wishes or read_wishes()
    words += [*["--half"] * half, *["--with-discriminator"] * with_discriminator, *wishes.options]
    if sentence := not_composing_yet(contents["generator"]):
        if not is_named:
            again = command("export", *words, "--output", output)
            raise CheckpointError(f"{sentence}. Let the run go on, or export this epoch all the same:\n  {again}")
        print(wrapped(f"{sentence[0].upper()}{sentence[1:]}."))
    make_output_folder(output)
    clear_leftovers(output)
    halved = {role: matrices_of(role, content) if half else frozenset() for role, content in contents.items()}
    advice = (
        "Put this one beside it, or in its place:\n"
        f"  {command('export', *words, '--output', f'{output}_epoch_{epoch}')}\n"
        f"  {command('export', *words, '--output', output, '--overwrite')}"
    )
    for role, content in contents.items():
        is_own = partial(is_same_model, role=role, content=content, halved=halved[role])
        path = shipped_path(output, role)
        refuse_other_work(path, overwrite=overwrite, error=CheckpointError, is_own=is_own, advice=advice)
    beside = Giveaway(folder, output, epoch, wishes, half, with_discriminator, overwrite)
    beside.refuse(advice=advice)
    for role, content in contents.items():
        path, state = shipped_path(output, role), final_state(content)
        write_shipped(path, role, epoch=epoch, keywords=content["keywords"], state=state, halved=halved[role])
        print(f"{path}: epoch {epoch}, {path.stat().st_size / 1e6:.1f} MB")
    change = composed_change(build_generator(contents["generator"]), load_generator(output, "best"))
    print(f"What it composes in one step differs from the checkpoint's by {change:.3g} dB on average.")
    beside.write([shipped_path(output, role) for role in roles])


def final_state(content: dict[str, Any]) -> dict[str, Tensor]:
    """The weights that are given away: averaged ones, where there are any."""
    return content.get("average") or content["model"]


def matrices_of(role: str, content: dict[str, Any]) -> frozenset[str]:
    """Names of the parameters that half precision is for."""
    network = build(KINDS[role], content, final_state(content), "cpu")
    ends = {"style.ends"} & final_state(content).keys()  # latents, which the encoder itself knows no better
    return frozenset(ends | {name for name, parameter in network.named_parameters() if parameter.ndim > 1})


def is_same_model(path: Path, *, role: str, content: dict[str, Any], halved: frozenset[str]) -> bool:
    """Whether a file holds just the model that would be written there."""
    try:
        there = read_shipped(path, role)
    except CheckpointError:
        return False
    wanted = {name: value.half().float() if name in halved else value for name, value in final_state(content).items()}
    return model_hash(there["model"], there["keywords"]) == model_hash(wanted, content["keywords"])


@torch.inference_mode()
def composed_change(first: VariationalAttentionModel, second: VariationalAttentionModel) -> float:
    """Mean difference in dB of the magnitudes that two generators compose of the same noise in one step."""
    noise = keyed_noise(
        0, 0, "export", first_frame=0, frames=first.latent_seq_len, channels=first.latent_dim
    ).unsqueeze(0)
    condition = first.condition_on(first.style.draw(0, range(len(noise))), noise.shape[1])
    levels = [
        network.autoencoder.levels(
            network.decode_spectrum(Composer(network, Sampling(steps=1)).integrate(noise, condition=condition))
        )
        for network in (first, second)
    ]
    return 20.0 / math.log(10.0) * float((levels[0] - levels[1]).abs().mean())


if __name__ == "__main__":
    raise SystemExit(main())
