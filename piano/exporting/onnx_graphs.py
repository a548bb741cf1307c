"""The networks as ONNX graphs: endpoint, encoder and decoder, without phase and Fourier transforms.

ONNX Runtime's backends for browsers have no usable STFT, so a graph begins and ends at log magnitudes. What is measured
and not trained (whitening, mean spectrum, texture, stereo image) is inside: who runs a graph needs no table of it.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from piano.foundation.errors import ConfigError
from piano.foundation.texture import Texture
from piano.latent_style import StyleCondition
from piano.piano_encoder_decoder import ChannelLevels, channel_levels
from piano.piano_model import LatentFlow, VariationalAttentionModel

EXTRA = ".[onnx]"
PRECISIONS = ("full", "half", "int8")
HALVED_NUMBERS = 1024
"""A matrix with fewer numbers stays as it is: next to nothing is saved, and every number of it counts."""
EXAMPLE_FRAMES = 6
"""Latent frames of the inputs with which a graph is traced and checked; it takes any number."""
CHECK_SEED = 0


class EndpointGraph(nn.Module):
    """Noisy latents, their level and a style -> the clean endpoint."""

    def __init__(self, flow: LatentFlow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, noisy: Tensor, level: Tensor, vector: Tensor, signals: Tensor) -> Tensor:
        """Endpoint (batch, frames, latent_dim); see `LatentFlow.forward`."""
        return self.flow(noisy, level, StyleCondition(vector, signals, torch.ones_like(vector[:, :1])))


class EncoderGraph(nn.Module):
    """Log magnitudes, and with stereo the numbers of its image -> whitened latents."""

    def __init__(self, network: VariationalAttentionModel) -> None:
        super().__init__()
        self.autoencoder = network.autoencoder
        self.normaliser = network.normaliser

    def forward(self, values: Tensor) -> Tensor:
        """Latents (batch, frames, latent_dim) of spectrum values (batch, frames * stride, values)."""
        return self.normaliser(self.autoencoder.encoder(self.autoencoder.normalise(values))[0])


class DecoderGraph(nn.Module):
    """Whitened latents and the scatter of white noise -> magnitudes of every channel, and their coherence."""

    def __init__(self, network: VariationalAttentionModel, texture: Texture) -> None:
        super().__init__()
        self.autoencoder = network.autoencoder
        self.normaliser = network.normaliser
        self.texture = texture

    def forward(self, latents: Tensor, scatter: Tensor) -> tuple[Tensor, ...]:
        """Magnitudes (batch, channels, frames * stride, bins), with a stereo image also coherence without channels.

        Parameters
        ----------
        latents : Tensor [shape=(batch, frames, latent_dim)]
        scatter : Tensor [shape=(batch, layers, frames * stride, bins)]
            See `Texture.scatter`.
        """
        codec = self.autoencoder
        values = codec.log_magnitude(codec.decoder(self.normaliser.inverse(latents)))
        full = codec.layers * codec.bins
        levels = rearrange(
            values[..., :full], "batch frames (layers bins) -> batch layers frames bins", bins=codec.bins
        )
        scattered = rearrange(
            self.texture.with_scatter(levels, scatter), "batch layers frames bins -> batch frames (layers bins)"
        )
        finished: ChannelLevels = channel_levels(
            torch.cat([scattered, values[..., full:]], dim=-1),
            sound_channels=codec.sound_channels,
            image_bands=codec.image_bands,
        )
        return (finished.magnitude,) if finished.coherence is None else (finished.magnitude, finished.coherence)


class Graph(NamedTuple):
    """A network on its way to ONNX."""

    module: nn.Module
    inputs: dict[str, Tensor]
    """Examples, with a batch of two."""
    outputs: tuple[str, ...]
    frame_axes: dict[str, tuple[int, int]]
    """Of inputs of any length: the axis, and how many of it one latent frame has."""

    @property
    def statistics(self) -> frozenset[str]:
        """Names of what was measured and not trained: an error there shifts everything."""
        return frozenset(name for name, _ in self.module.named_buffers())


def graphs_of(network: VariationalAttentionModel, *, steps: int, names: tuple[str, ...]) -> dict[str, Graph]:
    """Graphs of these names; the endpoint is the shortcut's if the music is made in one step, else the flow's."""
    codec, frames = network.autoencoder, EXAMPLE_FRAMES
    flow = network.shortcut if steps == 1 else network.attention
    window, size, stride = network.latent_seq_len, network.latent_dim, codec.latent_stride
    signals = flow.pulse.in_features
    random = torch.Generator().manual_seed(CHECK_SEED)

    def normal(*shape: int) -> Tensor:
        return torch.randn(2, *shape, generator=random)

    endpoint = {
        "noisy": normal(window, size),
        "level": torch.rand(2, window, generator=random),
        "vector": normal(network.style.style_dim),
        "signals": normal(window, signals),
    }
    values = codec.log_magnitude(normal(frames * stride, codec.values))
    decoder = {"latents": normal(frames, size), "scatter": normal(codec.layers, frames * stride, codec.bins)}
    heard = ("magnitude", "coherence") if codec.image_bands else ("magnitude",)
    graphs = {
        "endpoint": Graph(EndpointGraph(flow), endpoint, ("endpoint",), {}),
        "encoder": Graph(EncoderGraph(network), {"values": values}, ("latents",), {"values": (1, stride)}),
        "decoder": Graph(
            DecoderGraph(network, network.texture_of(steps)),
            decoder,
            heard,
            {"latents": (1, 1), "scatter": (2, stride)},
        ),
    }
    return {name: graphs[name] for name in names}


def require_packages() -> None:
    """Raise a ConfigError where what exporting needs is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f'exporting to ONNX needs {error.name}: pip install -e "{EXTRA}"') from None


def to_onnx(graph: Graph) -> Any:
    """The graph as an `onnx.ModelProto` in single precision; batch and, but for the endpoint, frames are free."""
    outputs_of(graph)  # tables that are made when first asked for must not be made while the exporter traces
    batch, frames = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("frames", min=1, max=1 << 20)
    shapes: list[dict[int, Any]] = []
    for name in graph.inputs:
        shape: dict[int, Any] = {0: batch}
        if name in graph.frame_axes:
            axis, times = graph.frame_axes[name]
            shape[axis] = frames if times == 1 else times * frames
        shapes.append(shape)
    with quietly():
        program = torch.onnx.export(
            graph.module.eval(),
            tuple(graph.inputs.values()),
            dynamo=True,
            verbose=False,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=tuple(shapes),
        )
    assert program is not None
    model = program.model_proto
    del model.metadata_props[:]
    for node in model.graph.node:  # where in the source a node was traced: paths of this machine
        del node.metadata_props[:]
        node.doc_string = ""
    return model


@contextmanager
def quietly() -> Iterator[None]:
    """Without the exporter's notes about packages that are not used here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def in_precision(model: Any, precision: str, *, statistics: frozenset[str] = frozenset()) -> Any:
    """The same graph with smaller weights.

    Parameters
    ----------
    model : onnx.ModelProto
        Changed in place for `half`.
    precision : str
        `full`: as it is. `half`: matrices lie in half precision, sums are single. `int8`: matrices of products are
        8-bit whole numbers with a scale for each column, and what they are multiplied with is rounded to 8 bits when
        the graph runs (dynamic quantisation, Jacob et al., arXiv 1712.05877).
    statistics : frozenset of str
        Tensors that stay in single precision.
    """
    if precision == "int8":
        model = _with_int8_products(model, statistics)
    return model if precision == "full" else _with_half_matrices(model, statistics)


def _with_half_matrices(model: Any, statistics: frozenset[str]) -> Any:
    """Matrices as half precision with a cast behind, which a runtime folds away when it loads the graph."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in list(model.graph.initializer):
        value = numpy_helper.to_array(tensor)
        is_small = value.ndim < 2 or value.size < HALVED_NUMBERS
        if value.dtype != np.float32 or is_small or tensor.name in statistics:
            continue
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float16), f"{tensor.name}_half"))
        casts.append(helper.make_node("Cast", [f"{tensor.name}_half"], [tensor.name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _with_int8_products(model: Any, statistics: frozenset[str]) -> Any:
    """Products as 8-bit whole numbers; convolutions, few of the weights, are left as they are."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logger = logging.getLogger()
    level = logger.level
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        logger.setLevel(logging.ERROR)  # its advice to prepare the graph with a tool changes nothing here
        try:
            quantize_dynamic(
                model,
                path,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["MatMul", "Gemm"],
                per_channel=True,
                nodes_to_exclude=[node.name for node in model.graph.node if statistics & {*node.input}],
            )
        finally:
            logger.setLevel(level)
        return onnx.load(path)


def largest_difference(model: Any, graph: Graph) -> float:
    """How far ONNX Runtime's output lies from PyTorch's at most, over the largest number of PyTorch's output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    got = session.run(list(graph.outputs), {name: value.numpy() for name, value in graph.inputs.items()})
    pairs = [(cast(np.ndarray, made), value.numpy()) for made, value in zip(got, outputs_of(graph), strict=True)]
    return max(float(np.abs(made - value).max() / np.abs(value).max()) for made, value in pairs)


@torch.inference_mode()
def outputs_of(graph: Graph) -> tuple[Tensor, ...]:
    """What PyTorch makes of the examples."""
    made = graph.module(*graph.inputs.values())
    return made if isinstance(made, tuple) else (made,)
