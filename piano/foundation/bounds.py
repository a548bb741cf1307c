"""Limits of every number that comes from a setting, a file or a command line, in one place.

A number beyond them is refused with a sentence before anything is made of it: no file can make a buffer, a loop or a
process by what it claims.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from piano.foundation.screen_text import printable


class Bound(NamedTuple):
    """What a number may be, both ends included; `is_above`: the lower end is not; `is_below`: the upper one is not."""

    low: float
    high: float
    is_whole: bool = True
    is_above: bool = False
    is_below: bool = False

    @property
    def limits(self) -> dict[str, Any]:
        """As keywords of a pydantic Field."""
        ends = {"gt" if self.is_above else "ge": self.low, "lt" if self.is_below else "le": self.high}
        return ends | ({} if self.is_whole else {"allow_inf_nan": False})

    def __contains__(self, value: object) -> bool:
        """Whether a value is such a number; True and False are not."""
        if isinstance(value, bool) or not isinstance(value, int | (int if self.is_whole else float)):
            return False
        if isinstance(value, float) and not math.isfinite(value):
            return False
        is_end = (self.is_above and value == self.low) or (self.is_below and value == self.high)
        return self.low <= value <= self.high and not is_end

    def __str__(self) -> str:
        """`a whole number from 1 to 8`."""
        low, high = (
            f"{int(end):,}" if end == int(end) and abs(end) < 10**18 else f"{end:,.6g}" for end in (self.low, self.high)
        )
        begin = f"a {'whole ' if self.is_whole else ''}number {'above' if self.is_above else 'from'} {low}"
        if self.is_below:
            return f"{begin} {'and' if self.is_above else 'to'} below {high}"
        return f"{begin} to {high}"

    def check(self, value: Any, name: str) -> Any:
        """The value, or a ValueError that says what `name` must be."""
        if value not in self:
            raise ValueError(f"{name} must be {self}, got {shown(value)}")
        return value


def shown(value: Any) -> str:
    """A value out of a file, short and printable; a number may have more digits than Python writes."""
    try:
        return printable(repr(value))[:80]
    except (ValueError, RecursionError):
        return f"a {type(value).__name__}"


def outside(values: Mapping[str, Any], bounds: Mapping[str, Bound]) -> str | None:
    """What is wrong with the first of the values that has a bound and is beyond it; None if all are well."""
    for name, bound in bounds.items():
        if name in values and values[name] not in bound:
            return f"{name} must be {bound}, got {shown(values[name])}"
    return None


SAMPLE_RATE = Bound(1_000, 384_000)
"""Samples per second."""
CHANNELS = Bound(1, 2)
SECONDS = Bound(0.0, 7 * 86_400.0, is_whole=False)
"""Of one piece of sound."""
SOUND_SECONDS = SECONDS._replace(is_above=True)
"""Of one that is made."""
FINITE = Bound(-1e300, 1e300, is_whole=False)
METER_PATTERN = r"^[0-9]{1,2}/[0-9]{1,2}$"
"""Of a written metre, such as 3/4."""
TEMPO = Bound(20.0, 400.0, is_whole=False)
"""Quarter notes a minute."""
BARS = Bound(1, 64)
"""Of a loop."""
DRAWING = Bound(1, 2)
"""Of rules by which what was asked for is drawn: the last are those of now."""
SURPRISE = Bound(0.0, 3.0, is_whole=False)
"""Of new music: 1 is as far from the training music's styles as is usual."""
BEST_OF = Bound(1, 256)
"""So many pieces are composed, of which one is kept."""
SAMPLE_SECONDS = Bound(0.1, 3_600.0, is_whole=False)
"""Of a sample that a run writes at every save, held in memory whole."""
MINUTES = Bound(0.0, 10 * 366 * 1_440.0, is_whole=False, is_above=True)
"""Of a whole run: ten years."""
WINDOW_FRAMES = Bound(8, 4_096)
"""Latent frames that the attention sees at once: its cost grows with their square."""
STAGE_FRAMES = Bound(2, 4_096)
"""Latent frames of one item of a stage; movement needs two."""
SAMPLING_STEPS = Bound(1, 1_000)
PHASE_ITERATIONS = Bound(0, 1_000)
EPOCH = Bound(0, 10**9)
STEPS = Bound(0, 10**12)
"""Of a run so far, or of a schedule."""
SOME_STEPS = Bound(1, 10**9)
SEED = Bound(-(2**63), 2**63 - 1)
"""Of a run: what torch takes."""
ANY_SEED = Bound(-(10**40), 10**40)
"""Of a composition: it is hashed, so that any number of digits a person types will do."""
STYLES = Bound(0, 1_023)
"""Number of a style of the training music: a model keeps so many (`NUM_ANCHORS` in piano/latent_style.py)."""
RADIO_SAMPLES = Bound(0, 86_400 * 48_000)
"""Of a radio until what is kept of it: a day, at the highest usual rate."""
SAMPLES = Bound(0, 2**40)
"""Of one array of sound."""
THREADS = Bound(1, 1_024)
CHUNK_SECONDS = Bound(0.1, 3_600.0, is_whole=False)
"""Of a chunk of a prepared song."""
MIN_SECONDS = Bound(0.0, 3_600.0, is_whole=False, is_below=True)
"""Songs shorter than this are left out."""
FILE_BYTES = Bound(0, 2**63 - 1)
TIME_NS = Bound(-(2**63), 2**63 - 1)
"""When a file was changed."""
SOURCE_RATE = Bound(0, 2**31 - 1)
"""Samples per second that a stranger's file claims for itself."""
SOURCE_CHANNELS = Bound(0, 65_535)
DECIBELS = Bound(-1_000.0, 1_000.0, is_whole=False)
WORKERS = Bound(1, 1_024)
"""That may be asked for; more than MOST_WORKERS of data_prep/worker_pool.py count as so many."""
FILES = Bound(1, 2**40)
SONG_SECONDS = Bound(0.0, 2.0**40, is_whole=False)
"""Of a prepared song: SAMPLES bound it already."""
SHARDS = Bound(1, 100_000)
"""Parts of the music that are prepared apart."""
PROCESSES = Bound(1, 4_096)
COUNT = Bound(1, 100_000)
"""Of samples, clips and the like."""
NATURAL = Bound(0, 2**63 - 1)
POSITIVE = Bound(1, 10**9)
SAMPLE_COUNT = Bound(1, 1_000)
"""Of samples that a run writes at every save."""
BATCH = Bound(1, 65_536)
SHARE = Bound(0.0, 1.0, is_whole=False)
BELOW_ONE = Bound(0.0, 1.0, is_whole=False, is_below=True)
"""A share that must leave something: dropout, the decay of an average."""
SPLIT_SHARE = BELOW_ONE._replace(is_above=True)
"""Of music that is held back: both sides get some."""
RATE = Bound(0.0, 1e9, is_whole=False, is_above=True)
"""A learning rate, or a factor of one. The doctor finds a rate that is too large; an infinite one is refused."""
WEIGHT = Bound(0.0, 1e9, is_whole=False)
"""Of a loss or a penalty."""
SIZE = Bound(1, 16_384)
"""Width of a network."""
DEPTH = Bound(1, 256)
"""Layers of a network."""
HEADS = Bound(1, 256)
LATENT_SIZE = Bound(2, 4_096)
WINDOW_SAMPLES = Bound(16, 65_536)
"""Window of a spectrum."""
STRIDE = Bound(1, 64)
SEGMENT_SAMPLES = Bound(64, 2**31 - 1)
IMAGE_BANDS = Bound(0, 512)
"""Of stereo; 0 for a spectrum of each channel."""
REPEAT_SIGNALS = Bound(0, 2)
"""How the flow hears when music comes again: a wave and its quadrature, or nothing."""
MOST_WINDOWS = 16
"""Of the waveform, for the ear."""

MODEL = {
    "sample_rate": SAMPLE_RATE,
    "sound_channels": CHANNELS,
    "n_fft": WINDOW_SAMPLES,
    "latent_stride": STRIDE,
    "latent_dim": LATENT_SIZE,
    "seq_len": SEGMENT_SAMPLES,
    "latent_seq_len": WINDOW_FRAMES,
    "encoder_channels": SIZE,
    "encoder_layers": DEPTH,
    "n_channels": SIZE,
    "decoder_layers": DEPTH,
    "attention_channels": SIZE,
    "num_heads": HEADS,
    "num_layers": DEPTH,
    "style_dim": SIZE,
    "dropout": BELOW_ONE,
    "image_bands": IMAGE_BANDS,
    "repeat_signals": REPEAT_SIGNALS,
}
"""What a generator is built from: the section `model` of the settings, the keywords of a checkpoint."""
JUDGES = {
    "sound_channels": CHANNELS,
    "spectrum_values": Bound(2, 2 * 32_769),
    "latent_dim": LATENT_SIZE,
    "ear_channels": SIZE,
    "attention_channels": SIZE,
    "num_heads": HEADS,
    "num_layers": DEPTH,
}
"""What a discriminator is built from."""
