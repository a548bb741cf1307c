"""The model as the Neutone SDK wants it: one piece of music at a time, with four knobs, and a text for the rest.

The SDK has room for four numbers. So tempo, key and metre are words in the text box that says how long the piece is.
"""

import warnings
from pathlib import Path

import torch
from neutone_sdk.non_realtime_wrapper import NonRealtimeBase  # pyright: ignore[reportMissingImports]
from neutone_sdk.parameter import (  # pyright: ignore[reportMissingImports]
    ContinuousNeutoneParameter,
    NeutoneParameter,
    TextNeutoneParameter,
)
from neutone_sdk.utils import save_neutone_model  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn

from piano.exporting.scripted_composition import ScriptedComposition
from piano.exporting.streaming_sound import StreamingSound
from piano.exporting.written_wishes import SECONDS, WrittenWishes
from piano.latent_style import NUM_ANCHORS
from piano.piano_model import VariationalAttentionModel

PHASE_ITERATIONS = 16
"""As `musigan generate` takes them: nobody waits for a block here."""
MOST_SEED, MOST_SURPRISE, LAST_VARIATION = 999.0, 3.0, 19.0


class PieceOfMusic(nn.Module):
    """A piece of a seed, latent after latent."""

    def __init__(self, generator: VariationalAttentionModel) -> None:
        super().__init__()
        self.sound = StreamingSound(generator)
        self.composition = ScriptedComposition(generator, self.sound.finish)
        self.latent_dim, self.steps, self.iterations = generator.latent_dim, int(generator.default_steps), 0
        self.iterations = PHASE_ITERATIONS
        self.sample_rate, self.sound_channels = generator.sample_rate, generator.sound_channels

    @torch.jit.export
    def begin(
        self, seed: int, style: int, surprise: float, item: int, beats_per_second: float, key: int, bar: int
    ) -> int:
        """A new piece, with what `ScriptedStyle.ask` takes; returns how many samples come before its first one."""
        like = torch.full([1], surprise)
        self.composition.ask(beats_per_second, key, bar)
        self.composition.control(seed, self.steps, style, like)
        self.composition.begin(1, item, 0, like)
        self.sound.begin(1, self.iterations, 0, seed, item, like)
        return self.sound.delay(self.iterations)

    def forward(self) -> Tensor:
        """The next sound (channels, hop_samples)."""
        packet = self.composition(1)
        return self.sound(packet[..., : self.latent_dim], packet[..., self.latent_dim :])[0]


class NeutoneModel(NonRealtimeBase):
    """Composes `seconds` of music; the SDK asks for each of these methods."""

    def __init__(self, piece: PieceOfMusic, name: str, about: str) -> None:
        self.name, self.about = name, about
        self.rate, self.out_channels = piece.sample_rate, piece.sound_channels
        super().__init__(piece)
        self.written = WrittenWishes()

    def get_model_name(self) -> str:
        return self.name

    def get_model_authors(self) -> list[str]:
        return ["MusiGAN"]

    def get_model_short_description(self) -> str:
        return "Composes new music in the manner of the recordings that it learned from."

    def get_model_long_description(self) -> str:
        return (
            "Music from noise, a piece at a time. Seed: which piece. Style: 0: the seed chooses; 1 to 1024: those "
            "of the music that was learned. Surprise: how far from it, 1 is usual. Variation: other takes in the same "
            "style. In the text box stands how many seconds, and, where they are wanted, a tempo, a key and a metre: "
            "20, 96 bpm, D minor, 3/4."
        )

    def get_technical_description(self) -> str:
        return "A flow over latents of a variational autoencoder on log magnitudes, with a phase vocoder. " + (
            self.about
        )

    def get_tags(self) -> list[str]:
        return ["generative", "music"]

    def get_model_version(self) -> str:
        return "1.0.0"

    def is_experimental(self) -> bool:
        return True

    def get_neutone_parameters(self) -> list[NeutoneParameter]:
        return [
            ContinuousNeutoneParameter("seed", "which piece, a whole number", 0.0, 0.0, MOST_SEED),
            ContinuousNeutoneParameter(
                "style", "0: the seed's own; 1 to 1024: a learned one", 0.0, 0.0, float(NUM_ANCHORS)
            ),
            ContinuousNeutoneParameter(
                "surprise", "how far from what was learned; 1 is usual", 1.0, 0.0, MOST_SURPRISE
            ),
            # Whole numbers are a kind of their own in the SDK, which its own check of the file refuses (1.5.2).
            ContinuousNeutoneParameter("variation", "another take in the same style", 0.0, 0.0, LAST_VARIATION),
            TextNeutoneParameter(
                "seconds", "how many, and what else is wanted: 20, 96 bpm, D minor, 3/4", 40, str(SECONDS)
            ),
        ]

    @torch.jit.export
    def get_audio_in_channels(self) -> list[int]:
        no_input: list[int] = []
        return no_input

    @torch.jit.export
    def get_audio_out_channels(self) -> list[int]:
        return [self.out_channels]

    @torch.jit.export
    def get_native_sample_rates(self) -> list[int]:
        return [self.rate]

    @torch.jit.export
    def get_native_buffer_sizes(self) -> list[int]:
        any_size: list[int] = []
        return any_size

    @torch.jit.export
    def is_one_shot_model(self) -> bool:
        return True

    def do_forward_pass(
        self,
        curr_block_idx: int,
        audio_in: list[Tensor],
        numerical_params: dict[str, Tensor],
        text_params: list[str],
        tokens_params: list[list[int]],
    ) -> list[Tensor]:
        """The piece that the knobs ask for; what there is of it where the host cancels."""
        wanted = self.written.seconds_of(text_params[0]) * self.rate
        early = self.model.begin(
            int(numerical_params["seed"].round().item()),
            int(numerical_params["style"].round().item()) - 1,
            float(numerical_params["surprise"].item()),
            int(numerical_params["variation"].round().item()),
            self.written.beats_per_second_of(text_params[0]),
            self.written.key_of(text_params[0]),
            self.written.bar_of(text_params[0]),
        )
        pieces: list[Tensor] = []
        made = -early
        while made < wanted and not self.should_cancel_forward_pass():
            sound = self.model()
            made += sound.shape[-1]
            pieces.append(sound)
            self.set_progress_percentage(min(max(100.0 * made / wanted, 0.0), 100.0))
        if len(pieces) == 0:
            return [torch.zeros([self.out_channels, 0])]
        return [torch.cat(pieces, dim=-1)[:, early : early + wanted]]


def save(generator: VariationalAttentionModel, name: str, about: str, folder: Path) -> Path:
    """Write the model into a folder, by the SDK and past its checks; returns the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = NeutoneModel(PieceOfMusic(generator), name[:30], about)
        save_neutone_model(model, folder, audio_sample_pairs=[], speed_benchmark=False)
    return folder / "model.nm"
