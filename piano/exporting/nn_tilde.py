"""A model as a TorchScript file for nn~, which plays it in Max and Pure Data."""

import argparse
import json

import torch
from torch import Tensor, nn

from piano.exporting.exported_file import asked_for, script, write_file
from piano.exporting.scripted_composition import ScriptedComposition
from piano.exporting.scripted_style import MOST_BEATS
from piano.exporting.streaming_codec import StreamingEncoder
from piano.exporting.streaming_sound import CODEC, StreamingSound
from piano.exporting.written_wishes import TEMPI
from piano.foundation.errors import CheckpointError
from piano.foundation.keys import KEYS
from piano.latent_style import NUM_ANCHORS
from piano.piano_model import VariationalAttentionModel

METHODS = ("encode", "decode", "forward", "generate")
ATTRIBUTES = {
    "seed": (1,),
    "steps": (1,),
    "style": (1,),
    "surprise": (2,),
    "tempo": (2,),
    "key": (1,),
    "bar": (1,),
    "phase_iterations": (1,),
    "delay": (1, 1, 1, 1),
}
"""What a patch can read and set, with nn~'s numbers of kinds: 1 an integer, 2 a float."""
DESCRIPTION = "musigan.json"
PHASE_ITERATIONS = 4
MOST_STEPS, MOST_SURPRISE, MOST_ITERATIONS = 64, 3.0, 32
REFUSED = -1


class NnTilde(nn.Module):
    """A model as nn~ wants it: methods on (batch, channels, steps), a row of numbers about each, attributes.

    Every item of a batch is a voice of its own. Each method has a state of its own, too, and begins anew where the
    number of voices changes.
    """

    encode_params: Tensor
    decode_params: Tensor
    forward_params: Tensor
    generate_params: Tensor

    def __init__(self, generator: VariationalAttentionModel) -> None:
        super().__init__()
        channels, hop, latent_dim = generator.sound_channels, generator.hop_samples, generator.latent_dim
        if hop & (hop - 1):
            raise CheckpointError(
                f"a latent frame of this model is {hop} samples, and nn~ takes powers of two only: train one whose "
                "model.n_fft / 4 times model.latent_stride is such a power"
            )
        self.hop, self.latent_dim, self.channels, self.codec_kind = hop, latent_dim, channels, CODEC
        self.model_rate, self.host_rate = generator.sample_rate, generator.sample_rate
        ratios = {
            "encode": (channels, 1, latent_dim, hop),
            "decode": (latent_dim, hop, channels, 1),
            "forward": (channels, 1, channels, 1),
            "generate": (1, hop, channels, 1),
        }
        for name, row in ratios.items():
            self.register_buffer(f"{name}_params", torch.tensor(row))
        for name, kinds in ATTRIBUTES.items():
            self.register_buffer(f"{name}_params", torch.tensor(kinds))
        sound = ["left", "right"] if channels == 2 else ["sound"]
        latents = [f"latent {index}" for index in range(latent_dim)]
        self.encode_input_labels, self.encode_output_labels = sound, latents
        self.decode_input_labels, self.decode_output_labels = latents, sound
        self.forward_input_labels, self.forward_output_labels = sound, sound
        self.generate_input_labels, self.generate_output_labels = ["added to the surprise"], sound
        self.methods: list[str] = list(METHODS)
        self.attributes: list[str] = list(ATTRIBUTES)

        self.seed, self.steps, self.style, self.surprise = 0, int(generator.default_steps), -1, 1.0
        self.phase_iterations = PHASE_ITERATIONS
        self.limits = [MOST_STEPS, NUM_ANCHORS, MOST_ITERATIONS]
        self.most_surprise, self.refused = MOST_SURPRISE, REFUSED
        self.tempo, self.key, self.bar = 0.0, -1, 0
        self.least_tempo, self.most_tempo = TEMPI
        self.keys, self.most_beats = (len(KEYS) if generator.style.chroma is not None else 0), MOST_BEATS

        self.encoder, self.forward_encoder = StreamingEncoder(generator), StreamingEncoder(generator)
        self.decoded, self.forwarded = StreamingSound(generator), StreamingSound(generator)
        self.generated = StreamingSound(generator)
        self.composition = ScriptedComposition(generator, self.generated.finish)
        self.encode_voices, self.decode_voices, self.forward_voices, self.generate_voices = 0, 0, 0, 0
        self.encode_index, self.forward_index, self.forward_lag, self.to_drop = 0, 0, 0, 0
        self.heard, self.unread, self.ready = torch.zeros(0), torch.zeros(0), torch.zeros(0)

    # --- methods ---------------------------------------------------------------------------------------------------

    @torch.jit.export
    def encode(self, sound: Tensor) -> Tensor:
        """Latents (batch, latent_dim, steps) of sound (batch, channels, steps * hop)."""
        if sound.shape[0] != self.encode_voices:
            self.encode_voices, self.encode_index = sound.shape[0], 0
            self.encoder.begin(sound)
        frames: list[Tensor] = []
        for block in sound.split(self.hop, dim=-1):  # always of one size: the same bits whatever the host's buffer
            frames.append(self.encoder(block, self.encode_index))
            self.encode_index += 1
        return torch.cat(frames, dim=1).transpose(1, 2).contiguous()

    @torch.jit.export
    def decode(self, latents: Tensor) -> Tensor:
        """Sound (batch, channels, steps * hop) of latents (batch, latent_dim, steps)."""
        if latents.shape[0] != self.decode_voices:
            self.decode_voices = latents.shape[0]
            self.decoded.begin(latents.shape[0], self.phase_iterations, 0, self.decoded.reconstruction_seed, 0, latents)
        sounds: list[Tensor] = []
        for frame in latents.transpose(1, 2).split(1, dim=1):
            sounds.append(self.decoded(frame, self._marks_of_real(frame)))
        return torch.cat(sounds, dim=-1)

    def forward(self, sound: Tensor) -> Tensor:
        """What the model makes of sound (batch, channels, samples), of the same shape."""
        if sound.shape[0] != self.forward_voices:
            self._begin_forward(sound)
        self.heard = torch.cat([self.heard, sound], dim=-1)
        while self.heard.shape[-1] >= self.hop:
            latents = self.forward_encoder(self.heard[..., : self.hop], self.forward_index)
            self.forward_index += 1
            self.heard = self.heard[..., self.hop :].contiguous()
            self.ready = torch.cat([self.ready, self.forwarded(latents, self._marks_of_real(latents))], dim=-1)
        missing = max(sound.shape[-1] - self.ready.shape[-1], 0)
        if missing > 0:  # blocks of changing sizes
            self.forward_lag += missing
            self.ready = torch.cat([torch.zeros_like(self.ready[..., :1]).expand(-1, -1, missing), self.ready], dim=-1)
        given = self.ready[..., : sound.shape[-1]].contiguous()
        self.ready = self.ready[..., sound.shape[-1] :].contiguous()
        return given

    @torch.jit.export
    def generate(self, control: Tensor) -> Tensor:
        """Music (batch, channels, steps * hop) without end; `control` (batch, 1, steps) is added to the surprise."""
        batch, wanted = control.shape[0], control.shape[-1] * self.hop
        surprise = (self.surprise + control[:, 0, -1]).clamp(0.0, self.most_surprise)
        self.composition.control(self.seed, self.steps, self.style, surprise)
        self.composition.ask(self.tempo / 60.0, self.key, self.bar)
        if batch != self.generate_voices:
            self.generate_voices = batch
            self.composition.begin(batch, 0, -1, control)
            self.generated.begin(batch, self.phase_iterations, 0, self.seed, 0, control)
            self.unread = torch.zeros([batch, self.channels, 0], device=control.device)
            self.to_drop = self.generated.delay(self.phase_iterations)  # latents come from here: no need to wait
        while self.unread.shape[-1] < wanted:
            packet = self.composition(1)
            sound = self.generated(packet[..., : self.latent_dim], packet[..., self.latent_dim :])
            dropped = min(self.to_drop, sound.shape[-1])
            self.to_drop -= dropped
            self.unread = torch.cat([self.unread, sound[..., dropped:]], dim=-1)
        given = self.unread[..., :wanted].contiguous()
        self.unread = self.unread[..., wanted:].contiguous()
        return given

    def _begin_forward(self, sound: Tensor) -> None:
        batch = sound.shape[0]
        self.forward_voices, self.forward_index = batch, 0
        self.forward_encoder.begin(sound)
        begins = -self.forward_encoder.delay
        self.forwarded.begin(batch, self.phase_iterations, begins, self.forwarded.reconstruction_seed, 0, sound)
        self.forward_lag = (self.hop - sound.shape[-1] % self.hop) % self.hop  # blocks shorter than a latent
        self.heard = torch.zeros([batch, self.channels, 0], device=sound.device)
        self.ready = torch.zeros([batch, self.channels, self.forward_lag], device=sound.device)

    def _marks_of_real(self, latents: Tensor) -> Tensor:
        """Gain and kind of latents (batch, frames, latent_dim) of real sound."""
        gain = torch.ones([latents.shape[0], latents.shape[1], 1], device=latents.device)
        return torch.cat([gain, self.codec_kind * gain], dim=2)

    # --- attributes ------------------------------------------------------------------------------------------------

    @torch.jit.export
    def get_methods(self) -> list[str]:
        return self.methods

    @torch.jit.export
    def get_attributes(self) -> list[str]:
        return self.attributes

    @torch.jit.export
    def get_sample_rate(self) -> int:
        """Samples a second that the model makes and expects, whatever the host's rate."""
        return self.model_rate

    @torch.jit.export
    def set_sample_rate(self, rate: int) -> int:
        """What the host runs at: another rate than the model's is refused, for its music would be out of tune."""
        self.host_rate = rate
        return 0 if rate == self.model_rate else self.refused

    @torch.jit.export
    def get_seed(self) -> tuple[int]:
        return (self.seed,)

    @torch.jit.export
    def set_seed(self, seed: int) -> int:
        self.seed = seed
        return 0

    @torch.jit.export
    def get_steps(self) -> tuple[int]:
        return (self.steps,)

    @torch.jit.export
    def set_steps(self, steps: int) -> int:
        if steps < 1 or steps > self.limits[0]:
            return self.refused
        self.steps = steps
        return 0

    @torch.jit.export
    def get_style(self) -> tuple[int]:
        return (self.style,)

    @torch.jit.export
    def set_style(self, style: int) -> int:
        if style < -1 or style >= self.limits[1]:
            return self.refused
        self.style = style
        return 0

    @torch.jit.export
    def get_surprise(self) -> tuple[float]:
        return (self.surprise,)

    @torch.jit.export
    def set_surprise(self, surprise: float) -> int:
        if not (surprise >= 0.0 and surprise <= self.most_surprise):
            return self.refused
        self.surprise = surprise
        return 0

    @torch.jit.export
    def get_tempo(self) -> tuple[float]:
        return (self.tempo,)

    @torch.jit.export
    def set_tempo(self, tempo: float) -> int:
        """Beats a minute; 0: as it comes."""
        if tempo != 0.0 and not (tempo >= self.least_tempo and tempo <= self.most_tempo):
            return self.refused
        self.tempo = tempo
        return 0

    @torch.jit.export
    def get_key(self) -> tuple[int]:
        return (self.key,)

    @torch.jit.export
    def set_key(self, key: int) -> int:
        """C to B major, then C to B minor; -1: as it comes, which is all that models know that hear no keys."""
        if key < -1 or key >= self.keys:
            return self.refused
        self.key = key
        return 0

    @torch.jit.export
    def get_bar(self) -> tuple[int]:
        return (self.bar,)

    @torch.jit.export
    def set_bar(self, bar: int) -> int:
        """Beats of a bar; 0: as it comes."""
        if bar < 0 or bar > self.most_beats:
            return self.refused
        self.bar = bar
        return 0

    @torch.jit.export
    def get_phase_iterations(self) -> tuple[int]:
        return (self.phase_iterations,)

    @torch.jit.export
    def set_phase_iterations(self, phase_iterations: int) -> int:
        """All sound begins anew: its delay is another one."""
        if phase_iterations < 0 or phase_iterations > self.limits[2]:
            return self.refused
        if phase_iterations != self.phase_iterations:
            self.phase_iterations = phase_iterations
            self.decode_voices, self.forward_voices, self.generate_voices = 0, 0, 0
        return 0

    @torch.jit.export
    def get_delay(self) -> tuple[int, int, int, int]:
        """Samples by which encode, decode, forward and generate run behind what they are given."""
        encode, decode = self.encoder.delay * self.hop, self.decoded.delay(self.phase_iterations)
        return encode, decode, encode + decode + self.forward_lag, 0

    @torch.jit.export
    def set_delay(self, encode: int, decode: int, forward: int, generate: int) -> int:
        """It follows from the model and `phase_iterations`."""
        return self.refused


def export(options: argparse.Namespace) -> None:
    """Write the file that the command line asks for, and say what is in it.

    Raises
    ------
    CheckpointError
        There is no such model, it does not compose yet, or its latent frame is not a power of two.
    ConfigError
        Something else has the file's name.
    """
    given = asked_for(options, suffix=".ts")
    scripted = script(lambda: NnTilde(given.network))
    table = description(scripted, given.about)
    write_file(given, lambda path: torch.jit.save(scripted, path, _extra_files={DESCRIPTION: json.dumps(table)}))
    rate = given.network.sample_rate
    delays = ", ".join(
        f"{name} {samples} ({1000 * samples / rate:.0f} ms)"
        for name, samples in zip(METHODS, scripted.get_delay(), strict=True)
    )
    print(f"For nn~ 1.6 and later, at {rate} samples a second, buffer {table['smallest_buffer']} or more.")
    print(f"Delay in samples: {delays}. docs/in-your-daw.md has every method and attribute.")


def description(model: torch.jit.ScriptModule, about: dict[str, object]) -> dict[str, object]:
    """What the file says about itself, in its DESCRIPTION."""
    return about | {
        "smallest_buffer": int(model.decode_params[1]),
        "delay": dict(zip(METHODS, model.get_delay(), strict=True)),
        "methods": {name: getattr(model, f"{name}_params").tolist() for name in METHODS},
        "attributes": {name: list(getattr(model, f"get_{name}")()) for name in ATTRIBUTES},
    }
