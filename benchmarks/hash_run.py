"""What a seeded run on the CPU writes, as hashes: a change of code that is to change nothing leaves them as they were.

    python benchmarks/hash_run.py [--checkout CHECKOUT] [--keep FOLDER]

Three small runs go through every stage: one as the settings come; one with micro-batches, generator-only steps, a ramp,
the other objectives, label smoothing, windows on the waveform, a discriminator that rests every other step and
the doctor; and one that is fine-tuned from the first. Of metrics.jsonl everything is hashed but what clocks say; of the
last checkpoint every tensor. Compare two checkouts on one machine: other processors round differently.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RICH: dict[str, Any] = {
    "accumulation_steps": 2,
    "update_discriminator": 2,
    "smoothing": 0.1,
    "objective_ear": "relativistic",
    "objective_professor": "bce",
    "schedulers__pretrain_g_only": True,
    "schedulers__g_pretrain_steps": 2,
    "schedulers__adv_ramp_steps": 3,
    "discriminator__wave_windows": [64],
    "loss_weights__energy_score": 1.0,
    "seed": 7,
}


def hash_runs(folder: Path) -> dict[str, str]:
    """Name of a run -> hash of its log and of its last checkpoint."""
    import torch

    from piano.piano_finetune import finetune_generator
    from piano.piano_pretrain import pretrain_discriminator, pretrain_generator
    from piano.piano_train import train_vae_gan
    from piano.watching.live import Doctor
    from piano.watching.validation import Validation
    from tests.same_run import CLOCKS
    from tests.tiny_run import start_run, tiny_config

    torch.set_num_threads(1)
    found: dict[str, str] = {}
    trained: dict[str, torch.Tensor] = {}
    for name, settings in (("plain", {}), ("rich", RICH), ("fine-tuned", {"seed": 3})):
        config = tiny_config(folder / name, steps_per_epoch=6, **settings)
        doctors = [Doctor("act", window=3)] if name == "rich" else []
        run = start_run(config, watchers=[*doctors, Validation()])
        if name == "fine-tuned":
            run.generator.load_state_dict(trained)
            run.average.network.load_state_dict(trained)
            finetune_generator(run)
        else:
            pretrain_generator(run)
        pretrain_discriminator(run)
        train_vae_gan(run)
        trained = trained or {key: value.clone() for key, value in run.generator.state_dict().items()}
        lines = []
        for line in (folder / name / "metrics.jsonl").read_text().splitlines():
            values = {key: value for key, value in json.loads(line).items() if key not in CLOCKS}
            lines.append(json.dumps(values, sort_keys=True))
        digest = hashlib.sha256()
        for network in (run.generator, run.discriminator):
            for value in network.state_dict().values():
                digest.update(
                    value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
                )
        log = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        found[name] = f"{len(lines)} lines {log[:16]}, weights {digest.hexdigest()[:16]}"
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose code runs (default: this one)")
    parser.add_argument("--keep", type=Path, help="new folder for the runs and their lines, to see what differs")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.keep is not None and options.keep.exists():
        parser.error(f"{options.keep} is there already")
    if not options.here:
        command = [sys.executable, __file__, "--here", "--checkout", str(options.checkout.resolve())]
        if options.keep is not None:
            command += ["--keep", str(options.keep.resolve())]
        return subprocess.run(command, check=False).returncode
    sys.path.insert(0, str(options.checkout))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        for name, told in hash_runs(folder).items():
            print(f"{name}: {told}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
