"""Every loss that a table names can be used: a weight in config.yaml is accepted, and acts in a step."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from piano.config_reader import load_config_from_yaml
from piano.loss_functions import DISCRIMINATOR_TERMS, MUSIC_TERMS
from piano.piano_train import SHORTCUT_TERMS, Both, check_loss_weights, draw_both, joint_ear_turn, joint_turn
from piano.training.game import Game
from piano.training.schedules import Step
from tests.tiny_run import SMALL, start_run, tiny_config

ROOT = Path(__file__).resolve().parent.parent
KNOWN = sorted({*SHORTCUT_TERMS, *MUSIC_TERMS, *DISCRIMINATOR_TERMS})


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Game, Both]]:
    """A step of the joint stage of networks that have learned nothing: noise of about -53 dB, so that it has every
    fault at once: near enough to silence, and loud enough to clash."""
    run = start_run(tiny_config(tmp_path_factory.mktemp("joint")))
    with torch.no_grad():
        run.generator.autoencoder.mean_spectrum -= 2.6
    step = Step((0, "weights"), 0, 1.0)
    (batch,) = draw_both(run, step, "joint", frames=run.settings("joint").frames)
    yield run.game(step), batch
    run.log.close()


def weighted(game: Game, folder: Path, **weights: float) -> Game:
    """The same step under a config.yaml in which only these losses count."""
    path = folder / "config.yaml"
    lines = [f"  {name}: {weights.get(name, 0.0)}" for name in KNOWN]
    path.write_text("preset: tiny\nloss_weights:\n" + "\n".join(lines) + "\n")
    config = load_config_from_yaml(path, overrides=SMALL)
    check_loss_weights(config.loss_weights)
    return game._replace(config=config)


def test_config_yaml_has_a_line_for_every_loss_of_the_tables() -> None:
    assert sorted(load_config_from_yaml(ROOT / "config.yaml").loss_weights) == KNOWN


@pytest.mark.parametrize("name", [*SHORTCUT_TERMS, *MUSIC_TERMS])
def test_a_weight_of_the_generator_s_table_is_logged_and_acts(name: str, joint, tmp_path: Path) -> None:
    game, batch = joint
    without, with_it = (joint_turn(weighted(game, tmp_path, **{name: weight}), batch) for weight in (0.0, 2.0))
    assert with_it.terms[name].item() > 0.0
    torch.testing.assert_close(with_it.total - without.total, 2.0 * with_it.terms[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", DISCRIMINATOR_TERMS)
def test_a_weight_of_the_discriminator_s_table_acts(name: str, joint, tmp_path: Path) -> None:
    game, batch = joint
    without, with_it = (joint_ear_turn(weighted(game, tmp_path, **{name: weight}), batch) for weight in (0.0, 2.0))
    assert with_it.total.item() > without.total.item() + 1e-4
