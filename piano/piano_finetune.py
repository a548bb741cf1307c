"""Training that starts from a trained model: its ear for sound is kept, its taste learns the new music.

Encoder, spectrum statistics and normaliser stay as they were: the attention block, the decoder and the professor all
speak in the latents they define. The decoder learns the new sound at a low rate, then the flow goes on from where it
was, then the judges, and the adversarial stages follow as ever.
"""

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from torch import Tensor, nn
from torch.optim import AdamW

from piano.config_reader import MODEL_OF_BEFORE, Config, DiscriminatorSettings, ModelSettings, usual_values
from piano.foundation.errors import CheckpointError, ConfigError
from piano.foundation.runtime import frozen
from piano.piano_pretrain import NoisySound, autoencoder_pass, draw_noisy_sounds, train_flow
from piano.piano_train import decoder_parameters
from piano.stages import STAGE, STAGE_NAMES
from piano.training.game import Game, Player, Turn, learn, optimizers_of
from piano.training.training_run import TrainingRun
from piano.update_checkpoint import with_present_names


class Start(NamedTuple):
    """A trained model, and the settings with which it is fine-tuned."""

    config: Config
    generator: dict[str, Tensor]
    """Its averaged weights."""
    discriminator: dict[str, Tensor] | None
    sentence: str
    """What is about to happen, for the screen."""
    music: Any = None
    """What it learned from, as its checkpoint keeps it; None: its file does not say."""

    def load_into(self, generator: nn.Module, discriminator: nn.Module) -> None:
        """Give networks that were built from `config` the trained weights."""
        generator.load_state_dict(with_present_names(self.generator))
        if self.discriminator is not None:
            discriminator.load_state_dict(with_present_names(self.discriminator))


def start_from(config: Config, folder: Path, generator: dict[str, Any], judges: dict[str, Any] | None) -> Start:
    """Fit the settings to a trained model: its architecture, the stages of fine-tuning.

    Parameters
    ----------
    config : Config
        Of a run from nothing.
    folder : Path
        Where the model lies.
    generator, judges : dict
        Contents of its checkpoints.

    Raises
    ------
    CheckpointError
        The model's keywords are no settings of this version.
    """
    try:
        model = ModelSettings(**usual_values()["model"] | MODEL_OF_BEFORE | generator["keywords"])
        section = config.discriminator
        if judges is not None:
            section = DiscriminatorSettings(
                ear_channels=judges["keywords"]["ear_channels"],
                wave_windows=judges["keywords"]["wave_windows"],
                professor_layers=judges["keywords"]["num_layers"],
            )
        values = config.model_dump() | {
            "model": model.model_dump(),
            "discriminator": section.model_dump(),
            "stages": finetuning_stages(config, model),
            "start_from": folder,
        }
        adopted = Config(**values)
    except (ValidationError, KeyError) as error:
        raise CheckpointError(
            f"the model in {folder} does not fit these settings: {' '.join(str(error).split())[:160]}"
        ) from None
    own = config.model.model_dump()
    changed = [f"{name} {value} for {own[name]}" for name, value in model.model_dump().items() if value != own[name]]
    architecture = f"its architecture replaces the settings' ({', '.join(changed)})" if changed else "same architecture"
    return Start(
        adopted,
        generator.get("average") or generator["model"],
        judges and judges["model"],
        f"Fine-tuning epoch {generator['epoch']} of {folder}: {architecture}; its encoder is kept",
        music_of(generator),
    )


def music_of(checkpoint: dict[str, Any]) -> Any:
    """What a checkpoint says of the music that was learned from; None where it says nothing."""
    run = checkpoint.get("run")
    stateful = run.get("stateful") if isinstance(run, dict) else None
    return stateful.get("music") if isinstance(stateful, dict) else None


def finetuning_stages(config: Config, model: ModelSettings) -> dict[str, dict[str, Any]]:
    """The stages' settings with the shares and rates of fine-tuning, as long as the model's attention sees."""
    if unknown := config.finetune.shares.keys() - set(STAGE_NAMES):
        raise ConfigError(f"finetune.shares names no such stage: {', '.join(sorted(unknown))}")
    stages = {}
    for name, stage in config.stages:
        values = stage.model_dump() | {"share": config.finetune.shares.get(name, stage.share)}
        if STAGE[name].kind == "pretraining":
            whole = config.stage(name)
            values |= {"learning_rate": whole.finetune_rate * whole.learning_rate, "short_share": None}
        if STAGE[name].composes and model != config.model:
            values["frames"] = model.latent_seq_len
        stages[name] = values
    return stages


def finetune_generator(run: TrainingRun) -> None:
    """What takes the place of `pretrain_generator`: the decoder, then the flow."""
    tune_decoder(run)
    train_flow(run)


def tune_decoder(run: TrainingRun) -> None:
    """The decoder learns the new sound from the latents of the encoder as it is."""
    autoencoder = run.generator.autoencoder
    optimizer = AdamW(decoder_parameters(autoencoder), lr=run.rate("autoencoder"), betas=(0.8, 0.99), weight_decay=0.01)
    player = Player("decoder", optimizer, decoding_turn)
    autoencoder.train()
    with frozen(autoencoder.encoder):
        for step in run.steps("autoencoder", optimizers_of(player)):
            run.record(learn(run.game(step), player, draw_noisy_sounds(run, step)))


def decoding_turn(game: Game, sound: NoisySound) -> Turn:
    """Reconstruction alone: the encoder, and with it the rate, stays."""
    reconstruction = autoencoder_pass(game, sound).reconstruction
    return Turn(reconstruction, {"reconstruction": reconstruction})
