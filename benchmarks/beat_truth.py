"""How often the pulse that styles are made of is the music's own beat, and what comes again a bar: against known music.

    musigan arrange-band --count 37 --seconds 60 --output known
    python benchmarks/beat_truth.py --music known --checkpoints shipped

`arrange-band` writes beside each piece where its beats and bars are. The pulse is found in windows of the model's
latents, as `piano.latent_style` finds it for training. Coherence: 1 where all beats lie at one place of the pulse.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from piano.foundation.audio_io import read_audio
from piano.foundation.model_folder import named_folder
from piano.latent_style import Pulse, find_repeats
from piano.piano_model import VariationalAttentionModel
from piano.utilities import load_generator

RATIOS = {"the beat": 1.0, "twice": 2.0, "half": 0.5, "three": 3.0, "a third": 1 / 3, "3 : 2": 1.5, "2 : 3": 2 / 3}
NEAR = 0.06
"""Of a frequency: what counts as the same."""


@torch.inference_mode()
def pulses_of(generator: VariationalAttentionModel, path: Path, window_seconds: float) -> tuple[Pulse, np.ndarray]:
    """Pulses in windows of a piece without overlap, and where each begins in seconds."""
    sound = read_audio(path, sample_rate=generator.sample_rate, channels=generator.sound_channels)
    latents = generator.encode(torch.from_numpy(sound).unsqueeze(0))[0]
    rate, size = generator.frames_per_second, round(window_seconds * generator.frames_per_second)
    starts = np.arange(0, len(latents) - size + 1, size)
    windows = torch.stack([latents[start : start + size] for start in starts])
    return find_repeats(windows, generator.style.measure(windows)[1], rate), starts / rate


def name_of(found: float, true: float) -> str:
    """Which of RATIOS a found frequency is of the true one."""
    for name, ratio in RATIOS.items():
        if abs(found / (true * ratio) - 1.0) < NEAR:
            return name
    return "another"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", type=Path, required=True, help="folder that `musigan arrange-band` wrote")
    parser.add_argument("--checkpoints", default="shipped", help="folder of a model, or shipped")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a window (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = load_generator(named_folder(options.checkpoints))
    counts, whole, windows = dict.fromkeys([*RATIOS, "another"], 0), 0, 0
    strengths, coherences = [], []
    for known in sorted(options.music.glob("*.json")):
        truth = json.loads(known.read_text())
        pulse, starts = pulses_of(generator, known.with_name(truth["file"]), options.seconds)
        beats = np.array(truth["beats"])
        for item, start in enumerate(starts):
            inside = beats[(beats >= start) & (beats < start + options.seconds)]
            if len(inside) < 4:
                continue
            windows += 1
            frequency, beat = float(pulse.frequency[item]), float(np.diff(inside).mean())
            places = 2.0 * np.pi * frequency * (inside - start) + float(pulse.phase[item])
            coherences.append(abs(np.exp(1j * places).mean()))
            counts[name_of(frequency, 1.0 / beat)] += 1
            bars = int(pulse.beats[item]) / frequency / (beat * truth["beats_per_bar"])
            whole += round(bars) > 0 and abs(bars - round(bars)) < NEAR * round(bars)
            assert pulse.repeats is not None
            strengths.append(float(pulse.repeats[item].max()))
    print(f"{windows} windows of {options.seconds:g} s")
    for name, count in counts.items():
        print(f"  {name:9s} {count / max(windows, 1):5.2f}")
    print(f"coherence of the beats with the pulse: {np.mean(coherences):.2f}")
    print(
        f"it comes again after one or more whole bars: {whole / max(windows, 1):.2f}; likeness {np.mean(strengths):.2f}"
    )


if __name__ == "__main__":
    main()
