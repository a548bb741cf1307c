"""A generator's flow and decoder for composing only: packed weights, one pass over memory between two products.

In bfloat16 autocast casts every weight again at every pass; here that is done once, the weights lie as the processor's
tiles want them, and what stands between the products is compiled (`foundation.layer_kernels`). The residual stream
stays in float32. What comes out is the networks' own output up to the rounding of the products.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from piano.foundation.finite import require_finite
from piano.foundation.layers import AttentionBlock, ConvNeXtBlock, rotary_tables
from piano.foundation.texture import Texture
from piano.latent_style import StyleCondition
from piano.piano_encoder_decoder import MAGNITUDE_FLOOR, VariationalEncoderDecoder, stereo_image
from piano.piano_model import LatentFlow, VariationalAttentionModel

if TYPE_CHECKING:
    from piano.foundation.layer_kernels import LayerKernels
    from piano.foundation.level_kernels import LevelKernels


class Product:
    """A linear layer of a fixed type, and what follows it, in float32 outside."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, *, has_gelu: bool = False) -> None:
        self.dtype = dtype
        self.has_gelu = has_gelu
        self.weight = weight.detach().to(dtype).contiguous()
        self.bias = None if bias is None else bias.detach().to(dtype)
        self.packed = _pack(self.weight) if dtype == torch.bfloat16 else None

    @classmethod
    def of(cls, layer: nn.Linear, dtype: torch.dtype, *, has_gelu: bool = False) -> "Product":
        return cls(layer.weight, layer.bias, dtype, has_gelu=has_gelu)

    def __call__(self, frames: Tensor) -> Tensor:
        """Of the layer's type (..., out_features)."""
        frames = frames.to(self.dtype)
        if self.packed is not None:
            after = ("gelu", [], "none") if self.has_gelu else ("none", [], "")
            return torch.ops.mkldnn._linear_pointwise(frames, self.packed, self.bias, *after)
        product = functional.linear(frames, self.weight, self.bias)
        return functional.gelu(product) if self.has_gelu else product


def _pack(weight: Tensor) -> Tensor | None:
    """A weight as oneDNN's products want it; None where this PyTorch cannot do that, which costs time only."""
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        torch.ops.mkldnn._linear_pointwise(weight.new_zeros(1, weight.shape[1]), packed, None, "gelu", [], "none")
    except (AttributeError, RuntimeError, TypeError):
        return None
    return packed


class FlowCopy:
    """`LatentFlow.forward`."""

    def __init__(self, flow: LatentFlow, dtype: torch.dtype, kernels: "LayerKernels") -> None:
        self.flow = flow
        self.dtype = dtype
        self.kernels = kernels
        self.embed = Product.of(flow.transformer.embed, dtype)
        self.blocks = [BlockCopy(cast(AttentionBlock, block), dtype, kernels) for block in flow.transformer.blocks]
        self.out = Product.of(flow.out, dtype)
        biases = torch.stack([block.bias for block in self.blocks])
        self.modulation_bias = biases + torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 1.0]).view(1, 6, 1)
        self._of_condition: tuple[StyleCondition, Tensor, Tensor] | None = None
        self._tables: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, noisy: Tensor, level: Tensor, condition: StyleCondition) -> Tensor:
        """Endpoint (batch, frames, latent_dim); see `LatentFlow.forward`."""
        flow, transformer = self.flow, self.flow.transformer
        share = level.unsqueeze(-1)
        size = ((1.0 - share).square() + share.square()).sqrt()
        style, tokens = self._style(condition)
        levels = transformer.level_embedding(level)
        modulation = transformer.modulation(levels.mean(dim=1) + style).unflatten(1, (6, -1))
        factors = modulation.unsqueeze(1) + self.modulation_bias  # (batch, blocks, 6, channels)
        added = self.embed(noisy / size).float() + levels + tokens
        branch, gate = torch.zeros_like(added), torch.zeros_like(factors[:, 0, 0])
        tables = self._rotary(noisy.shape[1])
        for index, block in enumerate(self.blocks):
            shift_a, scale_a, gate_a, shift_p, scale_p, gate_p = factors[:, index].unbind(dim=1)
            added, normed = self.kernels.add_and_norm(added, branch, gate, scale_a, shift_a)
            added, normed = self.kernels.add_and_norm(added, block.mix(normed, tables), gate_a, scale_p, shift_p)
            branch, gate = block.contract(block.expand(normed)).float(), gate_p
        norm = flow.out_norm
        _, normed = self.kernels.add_and_norm(
            added, branch, gate, norm.weight.detach().unsqueeze(0), norm.bias.detach().unsqueeze(0)
        )
        return (1.0 - share) / size.square() * noisy + share / size * self.out(normed).float()

    def _style(self, condition: StyleCondition) -> tuple[Tensor, Tensor]:
        """The style's vector and tokens, the same for all steps of a window."""
        if self._of_condition is None or self._of_condition[0] is not condition:
            style = self.flow.style(torch.cat([condition.vector, condition.is_known], dim=1))
            self._of_condition = condition, style, style.unsqueeze(1) + self.flow.pulse(condition.signals)
        return self._of_condition[1:]

    def _rotary(self, frames: int) -> tuple[Tensor, Tensor]:
        if frames not in self._tables:
            dim = self.modulation_bias.shape[-1] // self.flow.transformer.num_heads
            self._tables = {frames: rotary_tables(frames, dim, like=self.modulation_bias)}
        return self._tables[frames]


class BlockCopy:
    """The products of an `AttentionBlock`."""

    def __init__(self, block: AttentionBlock, dtype: torch.dtype, kernels: "LayerKernels") -> None:
        self.dtype = dtype
        self.kernels = kernels
        self.bias = block.modulation_bias.detach()
        self.scale = block.query_key_scale.detach().flatten(1).unflatten(1, (block.num_heads, -1)).contiguous()
        self.query_key_value = Product.of(block.query_key_value, dtype)
        self.attention_out = Product.of(block.attention_out, dtype)
        self.expand = Product.of(block.expand, dtype, has_gelu=True)
        self.contract = Product.of(block.contract, dtype)

    def mix(self, hidden: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
        """What each frame takes from all frames; see `AttentionBlock.mix`."""
        heads = self.kernels.split_heads(self.query_key_value(hidden).float(), self.scale, tables).to(self.dtype)
        mixed = functional.scaled_dot_product_attention(heads[0], heads[1], heads[2])
        return self.attention_out(mixed.transpose(1, 2).flatten(2)).float()


class DecoderCopy:
    """`VariationalAttentionModel.decode_spectrum`."""

    def __init__(self, generator: VariationalAttentionModel, dtype: torch.dtype, kernels: "LayerKernels") -> None:
        decoder = generator.autoencoder.decoder
        self.generator = generator
        self.kernels = kernels
        self.stride = decoder.stride
        self.blocks = [ConvNeXtCopy(cast(ConvNeXtBlock, block), dtype, kernels) for block in decoder.blocks]
        self.norm = [decoder.norm.weight.detach().unsqueeze(0), decoder.norm.bias.detach().unsqueeze(0)]
        self.head = Product.of(decoder.head, dtype)

    def __call__(self, latents: Tensor, part: slice) -> Tensor:
        """Normalised spectrum of the latent frames `part` of latents (batch, frames, latent_dim)."""
        decoder = self.generator.autoencoder.decoder
        hidden = decoder.from_latent(self.generator.normaliser.inverse(latents))
        hidden = hidden.reshape(hidden.shape[0], hidden.shape[1] * self.stride, -1)
        for block in self.blocks:
            hidden = block(hidden)
        hidden = hidden[:, part.start * self.stride : part.stop * self.stride].contiguous()
        _, normed = self.kernels.add_and_norm(hidden, hidden, torch.zeros_like(self.norm[0]), *self.norm)
        return self.head(normed).float()


class ConvNeXtCopy:
    """`ConvNeXtBlock.forward`."""

    def __init__(self, block: ConvNeXtBlock, dtype: torch.dtype, kernels: "LayerKernels") -> None:
        depthwise, norm = block.depthwise, block.norm
        self.kernels = kernels
        filters = depthwise.weight.detach().flatten(1).T.contiguous()
        self.numbers = [filters, *(part.detach() for part in (depthwise.bias, norm.weight, norm.bias))]
        self.expand = Product.of(block.expand, dtype, has_gelu=True)
        self.contract = Product.of(block.contract, dtype)
        self.scale = block.residual_scale.detach()

    def __call__(self, frames: Tensor) -> Tensor:
        """Map (batch, frames, channels) to the same shape."""
        normed = self.kernels.depthwise_and_norm(frames, *self.numbers)
        return torch.addcmul(frames, self.scale, self.contract(self.expand(normed)).float())


class InferenceCopy:
    """Copies of a generator's networks: each is made when it is first needed, and again when the weights have changed.

    Parameters
    ----------
    generator : VariationalAttentionModel
        On the CPU.
    dtype : torch.dtype
        Of products: float32 or bfloat16.
    kernels : LayerKernels
    """

    def __init__(self, generator: VariationalAttentionModel, dtype: torch.dtype, kernels: "LayerKernels") -> None:
        self.generator = generator
        self.dtype = dtype
        self.kernels = kernels
        networks = (generator.attention, generator.shortcut, generator.autoencoder.decoder)
        names = ("attention", "shortcut", "decoder")
        self._weights = {name: list(network.parameters()) for name, network in zip(names, networks, strict=True)}
        self._made: dict[str, tuple[list[tuple[int, int]], FlowCopy | DecoderCopy]] = {}

    def flow(self, name: str) -> FlowCopy:
        """`attention` or `shortcut`."""
        return cast(FlowCopy, self._copy_of(name))

    def decoder(self) -> DecoderCopy:
        """What `decode_spectrum` of the generator computes."""
        return cast(DecoderCopy, self._copy_of("decoder"))

    def _copy_of(self, name: str) -> FlowCopy | DecoderCopy:
        # Where the weights lie, and how often they were written.
        state = [(weight.data_ptr(), weight._version) for weight in self._weights[name]]
        if name not in self._made or self._made[name][0] != state:
            if name == "decoder":
                made = DecoderCopy(self.generator, self.dtype, self.kernels)
            else:
                made = FlowCopy(getattr(self.generator, name), self.dtype, self.kernels)
            self._made[name] = state, made
        return self._made[name][1]


class FinishedLevels(NamedTuple):
    """What is needed to sound a spectrum, as `ChannelLevels` has it."""

    magnitude: Tensor
    """Of every channel [shape=(batch, channels, frames, bins)]."""
    coherence: Tensor | None
    """Cosine of the angle between left and right [shape=(batch, frames, bins)]; None where nothing says it."""


def finish_levels(
    autoencoder: VariationalEncoderDecoder,
    spectrum: Tensor,
    kernels: "LevelKernels",
    *,
    texture: Texture | None,
    noise: Tensor | None,
) -> FinishedLevels:
    """`VariationalEncoderDecoder.channel_levels` and its magnitudes; raises CheckpointError where they are not finite.

    Parameters
    ----------
    spectrum : Tensor [shape=(batch, frames, values)]
        Normalised.
    texture : Texture, optional
        Adds the scatter of real sound, drawn from `noise`.
    noise : Tensor [shape=(batch, layers, frames + 3, hop_length)], optional
    """
    _require_finite_sum(spectrum, "spectra")
    mean, scale = autoencoder.mean_spectrum, float(autoencoder.spectrum_scale)
    finished = []
    for item, values in enumerate(spectrum):
        layers = [
            kernels.unnormalise(values, layer, autoencoder.bins, scale, mean) for layer in range(autoencoder.layers)
        ]
        if texture is not None and noise is not None:
            layers = [kernels.add_texture(texture, *pair) for pair in zip(layers, noise[item], strict=True)]
        if autoencoder.image_bands:
            image = slice(-2 * autoencoder.image_bands, None)
            image = stereo_image(values[:, image] * scale + mean[image], autoencoder.image_bands)
            finished.append(kernels.spread(layers[0], image, MAGNITUDE_FLOOR))
        else:
            finished.append((together([kernels.linear(layer, MAGNITUDE_FLOOR) for layer in layers]), None))
    magnitude = together([levels for levels, _ in finished])
    _require_finite_sum(magnitude, "magnitudes")
    cosines = [cosine for _, cosine in finished if cosine is not None]
    return FinishedLevels(magnitude, together(cosines) if cosines else None)


def together(items: Sequence[Tensor]) -> Tensor:
    """Tensors as a batch; one alone is not copied."""
    return items[0].unsqueeze(0) if len(items) == 1 else torch.stack(tuple(items))


def _require_finite_sum(values: Tensor, what: str) -> None:
    """`require_finite`, by one sum unless that is not finite."""
    if not bool(torch.isfinite(values.sum())):
        require_finite(values, what)
