"""Real clips, reconstructions and samples with sixteen steps and with one, before and after the adversarial stage.

    python benchmarks/draw_steps.py --checkpoints checkpoints --dataset dataset --output docs/pictures/steps.png

One picture of constant-Q spectrograms on one semitone axis; the seeds are fixed, nothing is chosen.
"""

import argparse
from pathlib import Path

from PIL import Image

from piano.evaluation.pictures import constant_q_grid
from piano.evaluation.run_ruler import CLIP_SECONDS, compose_clips, validation_clips
from piano.evaluation.score_generator import reconstruct_clips
from piano.foundation.checkpoint_format import checkpoint_path, list_epochs, read_checkpoint
from piano.piano_model import AudioDataset
from piano.utilities import load_generator


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    epochs = list_epochs(options.checkpoints, "generator")
    stages = {
        epoch: read_checkpoint(checkpoint_path(options.checkpoints, "generator", epoch), "generator")["run"]
        for epoch in epochs
    }
    flow_epoch = next(epoch for epoch in epochs if "flow" in stages[epoch]["finished_stages"])
    before, after = (load_generator(options.checkpoints, epoch) for epoch in (flow_epoch, epochs[-1]))
    real = validation_clips(
        AudioDataset.from_folder(options.dataset, "validation"), CLIP_SECONDS, after.sample_rate
    )
    first, second = real[len(real) // 3], real[2 * len(real) // 3]
    rows = {"real, never trained on (A)": first, "real, never trained on (B)": second}
    rows["reconstruction of B"] = reconstruct_clips(after, [second])[0]
    for title, generator, steps in (
        ("before the adversarial stage", before, 16),
        ("before the adversarial stage", before, 1),
        ("after it", after, 1),
    ):
        for index, clip in enumerate(compose_clips(generator, 2, first.shape[-1], steps=steps)):
            rows[f"{steps} step{'s' * (steps > 1)}, {title}, sample {index}"] = clip
    constant_q_grid(rows, after.sample_rate, options.output)
    Image.open(options.output).convert("P", palette=Image.Palette.ADAPTIVE, colors=96).save(
        options.output, optimize=True
    )
    print(options.output)


if __name__ == "__main__":
    main()
