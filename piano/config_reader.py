"""The settings: defaults, preset, config.yaml and `--set` in layers, read once, frozen and checked.

No number stands here: piano/default_config.yaml has every setting, its default and what it means.
"""

import contextlib
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator, model_validator

from piano.foundation import bounds
from piano.foundation.bounds import Bound, shown
from piano.foundation.doors import command, train_first
from piano.foundation.errors import ConfigError
from piano.foundation.model_folder import MODELS, RENAMED_MODELS, holds_model
from piano.foundation.screen_text import nearest, printable
from piano.stages import COMPOSING_STAGE, STAGE, STAGE_NAMES

CONFIG_NAME = "config.yaml"
STAGES_OF_A_WHOLE_FILE = 6
"""So many shares a run's settings have said since there were runs; stages that came later are not asked for."""
DEFAULT_CONFIG = Path(__file__).resolve().parent / "default_config.yaml"
"""Every setting with its default, which nobody edits: the lowest layer, and what `usual` means."""
MOST_BYTES = 1 << 20
"""Of a settings file."""
FOLDER_SETTINGS = (
    "dataset_folder",
    "prepared_folder",
    "checkpoint_folder",
    "checkpoint_folder_load",
    "music_out_folder",
)
MODEL_OF_BEFORE = {"image_bands": 0, "repeat_signals": 0}
"""Sizes of a network that older settings and checkpoints do not name, as they were before there was a choice."""
RENAMED = {
    "dropout": "model.dropout",
    "sample_rate": "model.sample_rate",
    "vae_mode": "model",
    "warmup_steps": "stages.<stage>.warmup_steps",
}
LONGEST_NAME, LONGEST_PATH = 255, 4_095
"""Bytes that file systems have for a name and for a path."""
MOST_DIGITS = 60
"""Of a number in a settings file."""


def limited(bound: Bound, default: Any = ...) -> Any:
    """A field whose number lies within a bound."""
    return Field(default=default, **bound.limits)


class Settings(BaseModel):
    """A section of config.yaml: frozen, and no key it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ModelSettings(Settings):
    """The generator."""

    sample_rate: int = limited(bounds.MODEL["sample_rate"])
    """Samples per second of everything after decoding."""
    sound_channels: Literal[1, 2]
    """1 mono, 2 stereo."""
    n_fft: int = limited(bounds.MODEL["n_fft"])
    """Window of the magnitude codec in samples, a power of two; the hop is a quarter of it."""
    latent_stride: int = limited(bounds.MODEL["latent_stride"])
    """Spectrum frames in one latent frame."""
    latent_dim: int = limited(bounds.MODEL["latent_dim"])
    """Numbers in one latent frame."""
    seq_len: int = limited(bounds.MODEL["seq_len"])
    """Samples of one data set segment (a pair has two)."""
    latent_seq_len: int = limited(bounds.MODEL["latent_seq_len"])
    """Latent frames the attention sees at once."""
    encoder_channels: int = limited(bounds.MODEL["encoder_channels"])
    encoder_layers: int = limited(bounds.MODEL["encoder_layers"])
    n_channels: int = limited(bounds.MODEL["n_channels"])
    """Width of the decoder."""
    decoder_layers: int = limited(bounds.MODEL["decoder_layers"])
    attention_channels: int = limited(bounds.MODEL["attention_channels"])
    num_heads: int = limited(bounds.MODEL["num_heads"])
    num_layers: int = limited(bounds.MODEL["num_layers"])
    """Attention blocks."""
    style_dim: int = limited(bounds.MODEL["style_dim"])
    """Numbers that say what a window of music is like as a whole."""
    dropout: float = limited(bounds.MODEL["dropout"])
    """In the attention block while training."""
    image_bands: int = limited(bounds.MODEL["image_bands"])
    """Bands of the stereo image; 0: a spectrum of each channel. Of mono it means nothing."""
    repeat_signals: int = limited(bounds.MODEL["repeat_signals"])
    """2: the flow hears when music comes again, as a wave and its quadrature; 0: it hears the beat alone."""

    @model_validator(mode="after")
    def _check(self) -> "ModelSettings":
        if self.n_fft & (self.n_fft - 1):
            raise ValueError(f"model.n_fft must be a power of two, got {self.n_fft}")
        if self.image_bands > self.n_fft // 2:
            raise ValueError(
                f"model.image_bands ({self.image_bands}) must not be above half of model.n_fft ({self.n_fft // 2})"
            )
        if self.attention_channels % (2 * self.num_heads):
            raise ValueError("model.attention_channels must be a multiple of twice model.num_heads")
        if self.latent_seq_len * self.hop_samples > 2 * self.seq_len:
            raise ValueError(
                f"model.latent_seq_len ({self.latent_seq_len} frames of {self.hop_samples} samples) "
                f"must fit into a pair of segments (2 x model.seq_len = {2 * self.seq_len} samples)"
            )
        return self

    @property
    def hop_samples(self) -> int:
        """Samples in one latent frame."""
        return self.n_fft // 4 * self.latent_stride

    @property
    def spectrum_values(self) -> int:
        """Numbers of one spectrum frame."""
        bins = self.n_fft // 2 + 1
        has_image = self.sound_channels == 2 and self.image_bands
        return bins + 2 * self.image_bands if has_image else self.sound_channels * bins

    @property
    def segment_seconds(self) -> float:
        """Length of one data set segment."""
        return self.seq_len / self.sample_rate


class DiscriminatorSettings(Settings):
    """The judges. The professor's width and heads are the generator's attention's."""

    ear_channels: int = limited(bounds.SIZE)
    wave_windows: list[Annotated[int, Field(**bounds.WINDOW_SAMPLES.limits, multiple_of=4)]] = Field(
        max_length=bounds.MOST_WINDOWS
    )
    """Windows, in samples, at which the ear also hears the waveform, besides the codec's own."""
    professor_layers: int = limited(bounds.DEPTH)
    """Attention blocks copied from the generator; about two thirds of model.num_layers."""


class StageSettings(Settings):
    """One stage of training, as it is written; `Config.stage` has the general values for what is null here."""

    share: float = limited(bounds.SHARE)
    """Of the time for learning (--minutes), or of the epochs of its kind: only the ratios of the shares count."""
    batch_size: int | None = limited(bounds.BATCH, None)
    """Items in one step over all processes; null: the general batch_size."""
    frames: int = limited(bounds.STAGE_FRAMES)
    """Latent frames of one item."""
    learning_rate: float | None = limited(bounds.RATE, None)
    """Of the network the stage is named after; null: the general learning_rate."""
    learning_rate_disc: float | None = limited(bounds.RATE, None)
    warmup_steps: int = limited(bounds.STEPS)
    steps_per_epoch: int | None = limited(bounds.SOME_STEPS, None)
    """Steps between two entries of the checkpoint list; null: the general steps_per_epoch."""
    finetune_rate: float | None = limited(bounds.RATE, None)
    """Of autoencoder and flow: what their learning rate is multiplied by to fine-tune; null: finetune.rate."""
    short_share: float | None = limited(bounds.SHARE, None)
    """Of the flow: in the first so large a part of it items are half as long, and steps half as dear; null: 0."""


_SECTIONS: dict[str, Any] = {name: (StageSettings, ...) for name in STAGE_NAMES}


class StageValues(NamedTuple):
    """One stage of training with every value that holds for it: its own, or else the general one."""

    share: float
    batch_size: int
    frames: int
    learning_rate: float
    learning_rate_disc: float
    warmup_steps: int
    steps_per_epoch: int
    finetune_rate: float
    short_share: float


class StagesSettings(create_model("_Stages", __base__=Settings, **_SECTIONS)):
    """The curriculum, in order: a section for each row of piano/stages.py."""


class FinetuneSettings(Settings):
    """How the curriculum changes when training starts from a trained model (`start_from`)."""

    shares: dict[str, Annotated[float, Field(**bounds.SHARE.limits)]]
    """Replace the stages' shares: little for the decoder, which can play already, much for composing."""
    rate: float = limited(bounds.RATE)
    """Of the learning rates of the stages autoencoder and flow."""

    @field_validator("shares")
    @classmethod
    def _refuse_unknown_stages(cls, value: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(value.keys() - StagesSettings.model_fields.keys()):
            raise ValueError(f"no such stage: {', '.join(unknown)[:80]}")
        return value


class RuntimeSettings(Settings):
    """Where and how the process runs."""

    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "32", "bf16"]
    """auto: bf16 where it is measured to be faster, else 32."""
    threads: Annotated[int, Field(**bounds.THREADS.limits)] | Literal["auto"]
    """CPU threads; auto measures."""
    devices: int = limited(bounds.PROCESSES)
    """Processes on this node (one a GPU)."""
    nodes: int = limited(bounds.PROCESSES)


class PlateauSettings(Settings):
    """When a network's learning rate is lowered for good; `patience` null: never."""

    patience: int | None = limited(bounds.EPOCH)
    """Epochs without a better metric that are borne; the one after them lowers the rate."""
    factor: float = Field(gt=0.0, lt=1.0, allow_inf_nan=False)
    """What the rate is then multiplied by."""
    threshold: float = limited(bounds.WEIGHT)
    """By how much a metric must fall to count as better."""
    min_lr: float = limited(bounds.WEIGHT)
    """No lower than this, before warm-up and cosine."""


class GeneratorPlateauSettings(PlateauSettings):
    """Of the generator's optimisers."""

    metric: Literal["validation", "training", "adversarial"]
    """Of an epoch: the stage's own loss on validation music or on training music, or how well it is seen through."""


class DiscriminatorPlateauSettings(PlateauSettings):
    """Of the judges' optimisers, each by its own loss."""

    metric: Literal["validation", "training"]


class EarlyStoppingSettings(Settings):
    """When a stage ends before its time; the averaged weights of its best epoch are kept."""

    patience: int | None = limited(bounds.EPOCH)
    """Epochs without a better metric that are borne; null: a stage is never cut short."""
    metric: Literal["validation", "training"]
    threshold: float = limited(bounds.WEIGHT)


class SchedulerSettings(Settings):
    """How a stage begins, slows down and ends. Steps count from the start of a stage."""

    g_warmup_steps: int = limited(bounds.STEPS)
    """Steps over which the generator's rate rises in the adversarial stages; 0: as the stage's warmup_steps say."""
    g_warmup_type: Literal["cosine", "linear"]
    pretrain_g_only: bool
    """Whether every adversarial stage begins with the generator alone, without its judges."""
    g_pretrain_steps: int = limited(bounds.SOME_STEPS)
    """For how many steps."""
    adv_ramp_steps: int | None = limited(bounds.STEPS)
    """Steps over which the adversary's weight rises from 0; null or 0: the first fifth of the stage."""
    adv_ramp_type: Literal["linear", "cosine"]
    g_plateau: GeneratorPlateauSettings
    d_plateau: DiscriminatorPlateauSettings
    early_stopping: EarlyStoppingSettings


class TrainingSettings(Settings):
    """What a run tells, and to whom. metrics.jsonl is always written."""

    loggers: list[Literal["tensorboard", "wandb"]]
    notify: list[str]
    """Apprise addresses that get a message when a run ends or dies; never written into the run's folder."""

    @field_validator("notify", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value or []


class Config(Settings):
    """Every setting."""

    preset: str
    seed: int = limited(bounds.SEED)
    dataset_folder: Path
    prepared_folder: Path
    checkpoint_folder: Path
    checkpoint_folder_load: Path | None
    """Where to resume from; null: checkpoint_folder."""
    music_out_folder: Path

    resume_from_checkpoint: bool
    resume_epoch: int | None = limited(bounds.POSITIVE)
    """Which epoch to resume from; null: the newest complete one."""
    start_from: Path | None
    """Folder of a trained model to fine-tune, or `shipped`; null: from nothing."""
    minutes: float | None = limited(bounds.MINUTES)
    """Of a whole run, from the start of the process to its end; null: the epochs below."""
    steps_per_epoch: int = limited(bounds.SOME_STEPS)
    pretrain_epochs_g: int = limited(bounds.EPOCH)
    """Epochs of autoencoder and flow together, divided by their shares."""
    pretrain_epochs_d: int = limited(bounds.EPOCH)
    epochs: int = limited(bounds.EPOCH)
    """Adversarial epochs: ear, professor and joint together, divided by their shares."""
    save_after_nepochs: int = limited(bounds.POSITIVE)
    keep_every: Annotated[int, Field(**bounds.POSITIVE.limits)] | Literal["auto"]
    """Keep the checkpoints of every n-th epoch; auto: 10 to 20 saves, spread over the run. 1 keeps all."""
    keep_last: int = limited(bounds.POSITIVE)
    """So many of the newest stay too, and always the best."""

    batch_size: int = limited(bounds.BATCH)
    accumulation_steps: int = limited(bounds.BATCH)
    """Micro-batches one step is divided into."""
    learning_rate: float = limited(bounds.RATE)
    """Generator, in the adversarial stages."""
    learning_rate_disc: float = limited(bounds.RATE)
    smoothing: float = Field(ge=0.0, lt=0.5, allow_inf_nan=False)
    """Label smoothing of the discriminator's real half (bce objective)."""
    update_discriminator: int = limited(bounds.POSITIVE)
    """The discriminator learns at every n-th generator step."""
    ema: float = limited(bounds.BELOW_ONE)
    """Decay of the averaged weights that generate and validate."""
    kl_target: float = limited(bounds.RATE)
    """Rate of the latent in nats per dimension and frame; beta is controlled to reach it."""
    penalty: float = limited(bounds.WEIGHT)
    """Weight of the zero-centred gradient penalties on real and fake."""
    objective_ear: Literal["bce", "relativistic"]
    objective_professor: Literal["bce", "relativistic"]
    sample_seconds: float = limited(bounds.SAMPLE_SECONDS)
    """Length of the samples written at every save."""
    sample_count: int = limited(bounds.SAMPLE_COUNT)

    doctor: Literal["off", "advise", "act"]
    """Watches training: says what it finds, and with `act` applies remedies."""
    doctor_window: int = limited(bounds.POSITIVE)
    """Most steps that are looked at together; an epoch is divided evenly."""

    loss_weights: dict[str, Annotated[float, Field(allow_inf_nan=False, le=bounds.WEIGHT.high)]]
    model: ModelSettings
    discriminator: DiscriminatorSettings
    stages: StagesSettings
    finetune: FinetuneSettings
    schedulers: SchedulerSettings
    training: TrainingSettings
    runtime: RuntimeSettings

    @field_validator(*FOLDER_SETTINGS, "start_from")
    @classmethod
    def _refuse_odd_path(cls, value: Path | None) -> Path | None:
        """Names that no file system has: they would fail later, and otherwise on every system."""
        if value is not None and (problem := odd_path(value)):
            raise ValueError(problem)
        return value

    @field_validator("doctor", mode="before")
    @classmethod
    def _read_off(cls, value: Any) -> Any:
        """YAML reads a bare `off` as false."""
        return "off" if value is False else value

    @model_validator(mode="after")
    def _check(self) -> "Config":
        if any(weight < 0 for weight in self.loss_weights.values()):
            raise ValueError("loss_weights must not be negative")
        if self.schedulers.pretrain_g_only and not self.loss_weights.get("energy_score"):
            raise ValueError(
                "schedulers.pretrain_g_only needs loss_weights.energy_score above 0: "
                "without its judges the generator would have nothing to compose by"
            )
        for name in STAGE_NAMES:
            stage, written = self.stage(name), getattr(self.stages, name)
            if written.short_share is not None and name != COMPOSING_STAGE:
                raise ValueError(f"stages.{name}.short_share means nothing: only the flow hears half windows")
            if written.finetune_rate is not None and STAGE[name].kind != "pretraining":
                raise ValueError(f"stages.{name}.finetune_rate means nothing: only autoencoder and flow have one")
            if stage.batch_size % (self.accumulation_steps * self.runtime.devices * self.runtime.nodes):
                raise ValueError(
                    f"the batch of stage {name} ({stage.batch_size}) must divide into "
                    "accumulation_steps x devices x nodes"
                )
            if STAGE[name].composes and stage.frames > self.model.latent_seq_len:
                raise ValueError(f"stages.{name}.frames must not exceed model.latent_seq_len")
            if stage.frames * self.model.hop_samples > 2 * self.model.seq_len:
                raise ValueError(
                    f"stages.{name}.frames ({stage.frames} of {self.model.hop_samples} samples) must fit into a pair "
                    f"of segments (2 x model.seq_len = {2 * self.model.seq_len} samples)"
                )
        if not any(stage.share for _, stage in self.stages):
            raise ValueError("the share of every stage is 0, so that nothing would be learned: give one a share")
        if self.discriminator.professor_layers > self.model.num_layers:
            raise ValueError(
                f"discriminator.professor_layers ({self.discriminator.professor_layers}) must not exceed "
                f"model.num_layers ({self.model.num_layers}), whose blocks the professor starts from"
            )
        return self

    def stage(self, name: str) -> StageValues:
        """The values that hold for a stage: the one place where a stage's null falls back on the general value."""
        written: StageSettings = getattr(self.stages, name)
        unsaid: dict[str, Any] = {"finetune_rate": self.finetune.rate, "short_share": 0.0}
        values: dict[str, Any] = {
            key: value if value is not None else unsaid[key] if key in unsaid else getattr(self, key)
            for key, value in written
        }
        return StageValues(**values)

    @property
    def resumed_folder(self) -> Path:
        """Where --resume finds the run."""
        return self.checkpoint_folder_load or self.checkpoint_folder

    def __getitem__(self, key: str) -> Any:
        """Read a setting like a dictionary, top level first, then the sections."""
        for section in (self, self.model, self.runtime, self.discriminator):
            if key in type(section).model_fields:
                return getattr(section, key)
        raise KeyError(key)


def find_config(path: Path | str | None = None) -> Path:
    """The given file, else config.yaml here, else beside the package, else the defaults; raises ConfigError."""
    if path is not None:
        found = expanded(Path(path))
        if odd_path(found) or not found.is_file():
            raise ConfigError(f"no settings file {printable(found)[:200]}. Give an existing one with --config.")
        return found
    for path in (Path.cwd() / CONFIG_NAME, DEFAULT_CONFIG.parents[1] / CONFIG_NAME):
        if path.is_file():
            return path
    return DEFAULT_CONFIG


def no_run_text(folder: Path, verb: str) -> str:
    """That there is no folder of a run, where it was looked for, and where the project's own run lies.

    Parameters
    ----------
    folder : Path
        As it was named.
    verb : str
        The command that wants it.
    """
    told = f"there is no folder {printable(folder.absolute())}."
    with contextlib.suppress(ConfigError):
        own = load_config_from_yaml().checkpoint_folder
        if holds_model(own) and own.absolute() != folder.absolute():
            return f"{told} The run of the settings is looked at with:\n  {command(verb, own)}"
    return f"{told} Name the folder that training wrote to (--checkpoints). {train_first()}"


def load_config_from_yaml(
    path: Path | str | None = None, *, preset: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Config:
    """Read, complete and check the settings.

    Parameters
    ----------
    path : Path or str, optional
        See `find_config`.
    preset : str, optional
        Replaces the file's `preset`.
    overrides : mapping, optional
        Dotted key -> value, strongest of all (`{"model.num_layers": 8}`).

    Returns
    -------
    Config
        Weakest first: defaults, the preset, the file's own keys, overrides. Relative folders are relative to the file.
        A file that is whole (`says_all`) has nothing of the default stages, losses and presets under it.

    Raises
    ------
    ConfigError
        A key is unknown or a value impossible.
    """
    source = find_config(path)
    values = layered(source.name, read_yaml(source), preset)
    for key, value in (overrides or {}).items():
        _set_dotted(values, key, value)
    try:
        config = Config.model_validate(_with_unsaid(values))
    except ValidationError as error:
        raise ConfigError(f"{source.name}: {_explain(error)}") from None
    except RecursionError:
        raise ConfigError(f"{source.name}: its values are nested too deeply") from None
    home = home_of(source)
    folders = {name: home / expanded(getattr(config, name)) for name in FOLDER_SETTINGS if getattr(config, name)}
    if config.start_from and str(config.start_from) not in (*MODELS, *RENAMED_MODELS):
        folders["start_from"] = home / expanded(config.start_from)
    return config.model_copy(update=folders)


def layered(name: str, written: Any, preset: str | None) -> dict[str, Any]:
    """Defaults, then a preset, then what a settings file says; raises ConfigError.

    Parameters
    ----------
    name : str
        Of the file, for the sentence.
    written
        What was read from it.
    preset : str, optional
        Replaces the file's own.
    """
    refuse_odd_names(name, written)
    general = dict(_defaults())
    presets, usual = general.pop("presets"), general["preset"]
    own = {} if written.get("presets") is None else written["presets"]
    chosen = written.get("preset") if preset is None else preset
    written = {key: value for key, value in written.items() if key != "presets"}
    if not isinstance(own, dict):
        raise ConfigError(f"{name}: presets must hold a section for each preset, got {shown(own)}")
    if chosen is not None and not isinstance(chosen, str):
        raise ConfigError(f"{name}: preset must be the name of one, got {shown(chosen)}")
    for title, section in own.items():
        if section is not None and not isinstance(section, dict):
            raise ConfigError(f"{name}: presets.{title} must be a section of settings, got {shown(section)}")
    is_whole = says_all(written) and (bool(own) or chosen not in presets)
    if is_whole or any(says_all(_merge(section or {}, written)) for section in own.values()):
        general, presets = {}, own
        has_free_name = not own
    else:
        chosen, has_free_name = usual if chosen is None else chosen, False
        base = {title: presets[usual] for title in own if title not in presets}
        presets = _merge(base | presets, {title: section or {} for title, section in own.items()})
    if chosen is not None and chosen not in presets and not has_free_name:
        raise ConfigError(f"{name}: no preset {shown(chosen)}. There are: {', '.join(presets)[:200]}.")
    below = {} if chosen is None else presets.get(chosen) or {}
    return _merge(_merge(general, below), written) | {"preset": chosen or "custom"}


def says_all(values: Mapping[str, Any]) -> bool:
    """Whether these are settings of a whole run: losses, model, and the shares of as many stages as there always were.

    So are the file that a run leaves in its folder, and every settings file from before there were layers. What such a
    file does not say of a stage or a loss is meant to be absent.
    """
    stages = values.get("stages")
    return (
        {"loss_weights", "model"} <= values.keys()
        and isinstance(stages, Mapping)
        and sum(isinstance(stage, Mapping) and "share" in stage for stage in stages.values()) >= STAGES_OF_A_WHOLE_FILE
    )


def preset_names(path: Path | str | None = None) -> list[str]:
    """The presets that `load_config_from_yaml` knows with this file, in order; raises ConfigError."""
    source = find_config(path)
    written = read_yaml(source)
    layered(source.name, written, None)
    own = written.get("presets") or {}
    if any(says_all(_merge(section or {}, written)) for section in own.values()):
        return list(own)
    return list(_defaults()["presets"] | own)


@functools.cache
def _read_defaults(path: Path) -> dict[str, Any]:
    return read_yaml(path)


def _defaults() -> dict[str, Any]:
    """What piano/default_config.yaml says; not to be changed."""
    return _read_defaults(DEFAULT_CONFIG)


def usual_values() -> dict[str, Any]:
    """The defaults with their preset, sections as dictionaries."""
    general = dict(_defaults())
    return _merge(general, general.pop("presets")[general["preset"]])


def _with_unsaid(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, and the defaults for what nobody named in a file that is whole, or in a section that --set replaced.

    Losses are left as they are, and so are the shares of fine-tuning where there are any. A stage that is not named
    gets no time, and a size of the network is what it was before it could be chosen: a whole file of before it was
    there means what it meant.
    """
    below = usual_values()
    below["model"] |= MODEL_OF_BEFORE
    del below["loss_weights"]
    below["stages"] = {name: section | {"share": 0.0} for name, section in below["stages"].items()}
    if isinstance(stages := values.get("stages"), Mapping):
        below["stages"] = {name: section for name, section in below["stages"].items() if name not in stages}
    finetune = values.get("finetune")
    if isinstance(finetune, Mapping) and "shares" in finetune:
        below["finetune"] = {name: value for name, value in below["finetune"].items() if name != "shares"}
    return _merge(below, values)


def refuse_odd_names(name: str, written: Any) -> None:
    """Settings are a section with names, and so is every section inside it; raises ConfigError.

    YAML reads `1:`, `null:`, `no:` and `2020-01-01:` as a number, nothing, false and a date.
    """
    if not isinstance(written, dict):
        raise ConfigError(f"{name} must hold settings as `name: value` lines")
    waiting: list[tuple[str, Any]] = [("", written)]
    while waiting:
        place, section = waiting.pop()
        if isinstance(section, list):
            waiting += [(place, value) for value in section]
        if not isinstance(section, dict):
            continue
        for key, value in section.items():
            if not isinstance(key, str):
                inside = f" in {place}" if place else ""
                raise ConfigError(
                    f"{name}: {shown(key)}{inside} is no name of a setting (put names that YAML reads "
                    "otherwise in quotes)"
                )
            waiting.append((f"{place}.{key}".strip(".")[-80:], value))


def odd_path(path: Path) -> str | None:
    """What no file system can have in a path; None if all is well."""
    try:
        size, sizes = len(os.fsencode(path)), [len(os.fsencode(part)) for part in path.parts]
    except UnicodeEncodeError:
        return "the name of a folder holds letters that no file system knows"
    if "\0" in str(path):
        return "the name of a folder holds a null character"
    if size > LONGEST_PATH or max(sizes, default=0) > LONGEST_NAME:
        return "the name of a folder is too long"
    return None


def expanded(path: Path) -> Path:
    """A path with `~` replaced by the home folder; raises ConfigError where there is no such user."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise ConfigError(f"there is no home folder for {printable(path)}: write the folder out") from None


def home_of(source: Path) -> Path:
    """What relative folders are relative to: the file's own, or the current folder for the copy that was installed."""
    folder = source.resolve().parent
    return Path.cwd() if folder == DEFAULT_CONFIG.parent or "site-packages" in folder.parts else folder


UNREADABLE = (yaml.YAMLError, RecursionError, ValueError, ArithmeticError, LookupError, AttributeError, TypeError)
"""What PyYAML raises for text that is no YAML, or says of a value what it is not (`!!timestamp x`, `!!bool x`)."""


class PlainLoader(yaml.SafeLoader):
    """Plain values only, no name twice, and no references: with those, a few lines can stand for billions of values."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node of the document; raises YAMLError at a reference."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("references (&name, *name) have no place in settings")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A section; raises YAMLError where a name is in it twice, of which YAML would take the last without a word."""
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                raise yaml.YAMLError(f"{key.value} is there twice (line {key.start_mark.line + 1})")
            seen.add((key.tag, str(key.value)))
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.Node) -> Any:
        """A value without parts; raises YAMLError where a number is longer than any number is."""
        is_number = node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        if is_number and len(str(node.value)) > MOST_DIGITS:  # 1:1:1: ... takes minutes to work out
            raise yaml.YAMLError(f"a number of {len(node.value)} letters has no place in settings")
        return super().construct_scalar(node)  # type: ignore[arg-type]


def parse_override(text: str) -> tuple[str, Any]:
    """`model.num_layers=8` -> ("model.num_layers", 8); raises ConfigError."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set needs key=value, got {text!r}")
    try:
        if len(value) > MOST_BYTES:
            raise ValueError("far too long")
        return key.strip(), yaml.load(value, PlainLoader)
    except UNREADABLE:
        raise ConfigError(f"--set {printable(key)[:60]}: the value is not readable YAML") from None


def dump_config(config: Config) -> str:
    """The settings as YAML that reads back to the same settings, except `training.notify`: addresses hold passwords."""
    values = config.model_dump(mode="json")
    values["training"]["notify"] = []
    values["presets"] = {values["preset"]: {}}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def read_yaml(source: Path) -> Any:
    """What a settings file says, plain values only, however hostile it is; raises ConfigError."""
    try:
        if source.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{source} is far too large to be a settings file")
        written = yaml.load(source.read_text(encoding="utf-8"), PlainLoader)
    except RecursionError:
        raise ConfigError(f"{source} is not readable YAML: it is nested too deeply") from None
    except OSError as error:
        raise ConfigError(f"cannot read {source}: {error.strerror}") from None
    except UNREADABLE as error:
        reason = printable(" ".join(str(error).split())[:240])
        raise ConfigError(f"{source} is not readable YAML: {reason}") from None
    return {} if written is None else written


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both_sections = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both_sections else value
    return merged


def _set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        inside = values.get(section)
        if inside is not None and not isinstance(inside, Mapping):
            raise ConfigError(f"{printable(key)[:80]}: {printable(section)[:80]} is no section, but {shown(inside)}")
        values[section] = dict(inside or {})
        values = values[section]
    values[name] = value


def _explain(error: ValidationError) -> str:
    """The first complaint as one sentence."""
    first = error.errors()[0]
    # pydantic names the kinds that a value may have: `threads.constrained-int`
    place = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("constrained-", "literal[")))
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])
        if place in RENAMED:
            return f"{place} is now called {RENAMED[place]}."
        near = nearest(name, _names(Config))
        hint = f" Did you mean {near}?" if near else ""
        return f"{place[:120]} is not a setting.{hint}"
    if first["type"] == "missing":
        return f"{place} is missing."
    message = str(first["msg"]).removeprefix("Value error, ")
    return message if not place else f"{place[:120]}: {message} (got {shown(first['input'])})."


def _names(section: type[BaseModel]) -> set[str]:
    """Every key of a section and of the sections inside it."""
    names = set(section.model_fields)
    for field in section.model_fields.values():
        kinds = [field.annotation, *get_args(field.annotation)]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                names |= _names(kind)
    return names
