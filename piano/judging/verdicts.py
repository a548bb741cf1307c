"""What the judges hear, and what they say of it: fakes, real music and sanity probes as latents and spectra."""

import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from piano.discriminator import Discriminator_with_mdisc
from piano.foundation.audio_io import find_audio_files, read_audio
from piano.foundation.errors import AudioError, DatasetError
from piano.foundation.phase import hold_phase
from piano.foundation.randomness import keyed_generator
from piano.judging.tournament_scores import FAMILIES
from piano.piano_encoder_decoder import MAGNITUDE_FLOOR, channel_levels
from piano.piano_model import AudioDataset, VariationalAttentionModel

LEVEL_RMS = 10 ** (-18 / 20)
"""The level of prepared music."""
TONE_HERTZ = 1000.0
SHUFFLE_SECONDS = 0.25
HEARD_ITERATIONS = 2
"""Phase iterations of the waveform that an ear hears, as in training."""


@dataclass(frozen=True)
class Items:
    """What the judges see of some clips, items first."""

    latents: Tensor
    spectrum: Tensor
    wave: Callable[[], Tensor]
    """Makes the waveform, which few judges ask for and which costs the most."""

    @property
    def bytes(self) -> int:
        """Memory taken, with the waveforms that a judge may ask for: half as large as the spectra."""
        return 4 * (self.latents.numel() + self.spectrum.numel() + self.spectrum.numel() // 2)


@dataclass(frozen=True)
class JudgeVerdict:
    """One discriminator on one generator's music, and on real music. Logits are the mean of ear and professor."""

    discriminator_epoch: int
    generator_epoch: int
    d_loss: float
    """Binary cross-entropy with the label real: log 2 undecided, high for music it calls fake."""
    probability: float
    logit: float
    real_d_loss: float
    real_probability: float
    real_logit: float
    told_apart: float
    """Chance that a real clip's logit lies above a fake's: 0.5 is guessing, whatever the logits' origin."""
    ear_told_apart: float
    """The same of the ear alone, which hears sound."""
    professor_told_apart: float
    """The same of the professor alone, which reads the composition."""
    trained_steps: int


class RealClips(NamedTuple):
    """Real music, and where it was cut from."""

    waveforms: Tensor
    """[shape=(clips, channels, samples)]"""
    files: list[str]


def items_of_latents(generator: VariationalAttentionModel, latents: Tensor) -> Items:
    """Latents (items, frames, latent_dim) with the spectra the decoder makes of them, one item at a time."""
    spectrum = torch.cat([generator.decode_spectrum(latent.unsqueeze(0)) for latent in latents])
    return items_with_wave(generator, latents, spectrum)


def items_of_sound(generator: VariationalAttentionModel, waveforms: Tensor) -> Items:
    """Waveforms (items, channels, samples) with their spectra and latents, one item at a time."""
    spectrum = torch.cat([generator.autoencoder.analyse(waveform.unsqueeze(0)) for waveform in waveforms])
    means = [generator.autoencoder.encoder(each.unsqueeze(0))[0] for each in spectrum]
    return items_with_wave(generator, generator.normaliser(torch.cat(means)), spectrum)


def items_with_wave(generator: VariationalAttentionModel, latents: Tensor, spectrum: Tensor) -> Items:
    """The waveform has a phase made from the spectrum, real music too: so it was when the ear was trained."""
    # Two buffers and not the generator, which would stay in memory as long as its clips.
    mean, scale = generator.autoencoder.mean_spectrum.clone(), generator.autoencoder.spectrum_scale.clone()
    form = {"sound_channels": generator.sound_channels, "image_bands": generator.autoencoder.image_bands}

    def wave() -> Tensor:
        log_magnitude, coherence = channel_levels(spectrum.float() * scale + mean, **form)
        return hold_phase(log_magnitude, iterations=HEARD_ITERATIONS, floor=MAGNITUDE_FLOOR, coherence=coherence)

    return Items(latents, spectrum, cache(wave))


def family_logits(discriminator: Discriminator_with_mdisc, items: Items, *, is_real: bool) -> dict[str, Tensor]:
    """Centred logits of ear and professor [shape=(items,)], each kind before its own crowd as in training."""
    wave = items.wave() if discriminator.ear.wave_windows else None
    judgements = discriminator(wave=wave, latents=items.latents, spectrum=items.spectrum, is_real=is_real)
    return {name: judgements[name].per_item() - getattr(discriminator, f"{name}_offset") for name in FAMILIES}


def told_apart(real: Tensor, fake: Tensor) -> float:
    """Share of pairs (real, fake) in which the real item has the higher logit; ties count half."""
    gaps = real.unsqueeze(1) - fake.unsqueeze(0)
    return float((gaps > 0).float().mean() + 0.5 * (gaps == 0).float().mean())


def pass_verdict(judge: int, generator: int, fake: Tensor, real: Tensor, *, trained_steps: int) -> JudgeVerdict:
    """One verdict from logits [shape=(families, items)]."""
    fake_mean, real_mean = fake.mean(dim=0), real.mean(dim=0)
    return JudgeVerdict(
        discriminator_epoch=judge,
        generator_epoch=generator,
        d_loss=float(functional.softplus(-fake_mean).mean()),
        probability=float(fake_mean.sigmoid().mean()),
        logit=float(fake_mean.mean()),
        real_d_loss=float(functional.softplus(-real_mean).mean()),
        real_probability=float(real_mean.sigmoid().mean()),
        real_logit=float(real_mean.mean()),
        told_apart=told_apart(real_mean, fake_mean),
        ear_told_apart=told_apart(real[0], fake[0]),
        professor_told_apart=told_apart(real[1], fake[1]),
        trained_steps=trained_steps,
    )


# --- sound -----------------------------------------------------------------------------------------------------------


def sanity_probes(real: Tensor, sample_rate: int) -> dict[str, Tensor]:
    """What no judge should take for music, each as many clips as there are real ones (clips, channels, samples).

    White noise and a 1 kHz tone at the music's level, silence, and the real clips cut into quarters of a second that
    are put together in another order: real sound without a course.
    """
    clips, channels, samples = real.shape
    noise = LEVEL_RMS * torch.randn(clips, channels, samples, generator=keyed_generator("probe noise"))
    tone = torch.sin(2 * math.pi * TONE_HERTZ / sample_rate * torch.arange(samples, dtype=torch.float64))
    piece = round(SHUFFLE_SECONDS * sample_rate)
    shuffled = []
    for index, clip in enumerate(real):
        pieces = clip.split(piece, dim=-1)
        order = torch.randperm(len(pieces), generator=keyed_generator("probe order", index)).tolist()
        shuffled.append(torch.cat([pieces[place] for place in order], dim=-1))
    return {
        "white noise": noise.clamp(-1.0, 1.0),
        "silence": torch.zeros_like(real),
        "shuffled real": torch.stack(shuffled),
        "1 kHz tone": (math.sqrt(2.0) * LEVEL_RMS * tone).float().expand(clips, channels, samples),
    }


def real_clips(source: Path, generator: VariationalAttentionModel, count: int, *, may_be_files: bool) -> RealClips:
    """Real music never trained on, each clip as long as the attention's window.

    Parameters
    ----------
    source : Path
        A data set folder (its validation pairs), or (`may_be_files`) a folder of sound files.

    Raises
    ------
    DatasetError
        Neither is there, or it is of another rate or number of channels.
    """
    samples = generator.latent_seq_len * generator.hop_samples
    try:
        dataset = AudioDataset.from_folder(source, "validation")
    except DatasetError:
        if not may_be_files:
            raise
        return clips_of_files(source, generator, samples, count)
    manifest = dataset.manifest
    if manifest is None or (manifest.sample_rate, manifest.channels) != (
        generator.sample_rate,
        generator.sound_channels,
    ):
        raise DatasetError(f"the data set in {source} has another rate or number of channels than the generator")
    places = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int).tolist()
    labels: Sequence[object] = dataset.labels or range(len(dataset))
    waveforms = torch.stack([dataset.crop(place, 0, samples) for place in places])
    return RealClips(waveforms, [str(labels[place]) for place in places])


def clips_of_files(folder: Path, generator: VariationalAttentionModel, samples: int, count: int) -> RealClips:
    """The beginning of up to `count` sound files, levelled like prepared music; what cannot be read is named."""
    clips, files = [], []
    for path in find_audio_files(folder):
        if len(clips) == count:
            break
        try:
            sound = read_audio(
                path,
                sample_rate=generator.sample_rate,
                channels=generator.sound_channels,
                max_seconds=samples / generator.sample_rate,
            )
        except AudioError as error:
            logging.getLogger(__name__).warning(f"Left out: {error}")
            continue
        if sound.shape[1] >= samples:
            rms = float(np.sqrt(np.mean(sound**2)))
            clips.append(torch.from_numpy(sound[:, :samples] * (LEVEL_RMS / max(rms, 1e-6))).clamp(-1.0, 1.0))
            files.append(path.name)
    if not clips:
        raise DatasetError(f"no sound file of at least {samples / generator.sample_rate:.1f} s in {folder}")
    return RealClips(torch.stack(clips), files)


# --- keys ------------------------------------------------------------------------------------------------------------


def file_digest(path: Path) -> str:
    """A short hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:24]


def tensor_digest(*tensors: Tensor) -> str:
    """A short hash of the values of tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


def code_digest(generator: VariationalAttentionModel) -> str:
    """A short hash of the way from sound to latents: equal for all generators since the encoder was frozen."""
    encoder = list(generator.autoencoder.encoder.state_dict().values())
    spectrum = (generator.autoencoder.mean_spectrum, generator.autoencoder.spectrum_scale)
    return tensor_digest(*encoder, *spectrum, generator.normaliser.mean, generator.normaliser.whiten)
