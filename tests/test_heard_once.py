"""Both turns of an adversarial step hear the same sound, so its phase is looked for once, and nothing else changes."""

import pytest
import torch
from torch import Tensor, nn

from piano import piano_train
from piano.piano_pretrain import train_autoencoder, train_flow
from piano.piano_train import (
    Both,
    SoundBatch,
    both_ahead,
    both_draws,
    compose_ahead,
    decoder_turn,
    draw_both,
    draw_compositions,
    draw_sounds,
    ear_turn,
    joint_ear_turn,
    joint_sound_turn,
    joint_turn,
    on_composition,
    professor_turn,
    rebuild_ahead,
    shortcut_turn,
)
from piano.training.game import Game, Once, Player, Turn, adversarial_step
from piano.training.schedules import Opening, Step
from piano.training.training_run import TrainingRun
from tests.tiny_run import start_run, tiny_config


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> TrainingRun:
    """A run in stereo whose ear also hears waveforms, its pretraining done."""
    config = tiny_config(
        tmp_path_factory.mktemp("run"), discriminator__wave_windows=[256, 128], model__sound_channels=2
    )
    run = start_run(config)
    train_autoencoder(run)
    train_flow(run)
    run.generator.train()
    run.discriminator.train()
    return run


def step() -> Step:
    """The first of a stage, whose judges are penalised, with the adversary at full weight."""
    return Step((0, "test"), 0, 0.5, Opening(ramp=1.0))


@pytest.fixture
def phases(monkeypatch) -> list[Tensor]:
    """Every phase that was looked for."""
    found: list[Tensor] = []
    original = piano_train.constant_phase

    def counted(*arguments, **options) -> Tensor:
        found.append(original(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(piano_train, "constant_phase", counted)
    return found


def gradients(run: TrainingRun, total: Tensor) -> dict[str, Tensor]:
    networks = {"g": run.generator, "d": run.discriminator}
    total.backward()
    found = {
        f"{key}.{name}": parameter.grad.clone()
        for key, network in networks.items()
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    for network in networks.values():
        network.zero_grad(set_to_none=True)
    return found


def test_a_step_of_the_ear_looks_for_two_phases(run: TrainingRun, phases: list[Tensor]):
    (sound,) = draw_sounds(run, step(), "ear")
    game = run.game(step())
    ear_turn(game, sound)
    assert len(phases) == 2
    decoder_turn(game, sound)
    assert len(phases) == 2
    assert not any(phase.requires_grad for phase in phases)


def test_a_step_of_both_looks_for_three_phases(run: TrainingRun, phases: list[Tensor]):
    (both,) = draw_both(run, step(), "joint", frames=32)
    game = run.game(step())
    joint_ear_turn(game, both)
    joint_turn(game, both)
    assert len(phases) == 3


@pytest.mark.parametrize("turn", [ear_turn, decoder_turn])
def test_what_was_made_before_gives_the_gradients_of_what_is_made_anew(run: TrainingRun, turn):
    (sound,) = draw_sounds(run, step(), "ear")
    game = run.game(step())
    ear_turn(game, sound)
    decoder_turn(game, sound)
    anew: SoundBatch = sound._replace(once=Once())
    first, second = (gradients(run, turn(game, batch).total) for batch in (sound, anew))
    assert first.keys() == second.keys() and first
    for name, gradient in first.items():
        torch.testing.assert_close(gradient, second[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("turn", [joint_ear_turn, joint_turn])
def test_the_joint_turns_likewise(run: TrainingRun, turn):
    (both,) = draw_both(run, step(), "joint", frames=32)
    game = run.game(step())
    joint_ear_turn(game, both)
    anew = Both(both.composition._replace(once=Once()), both.sound._replace(once=Once()))
    first, second = (gradients(run, turn(game, batch).total) for batch in (both, anew))
    assert first.keys() == second.keys() and first
    for name, gradient in first.items():
        torch.testing.assert_close(gradient, second[name], rtol=1e-3, atol=1e-5, msg=name)


def test_the_sound_of_both_teaches_shortcut_and_decoder(run: TrainingRun):
    (both,) = draw_both(run, step(), "joint", frames=32)
    game = run.game(step())
    joint_ear_turn(game, both)
    found = gradients(run, joint_sound_turn(game, both, both_draws(game, both.composition)[0]).total)
    for part in ("g.shortcut.", "g.autoencoder.decoder."):
        assert any(bool(gradient.any()) for name, gradient in found.items() if name.startswith(part)), part


def test_where_dropout_composes_otherwise_the_generator_hears_its_own_composition(
    run: TrainingRun, phases: list[Tensor], monkeypatch
):
    (both,) = draw_both(run, step(), "joint", frames=32)
    model = run.config.model.model_copy(update={"dropout": 0.3})
    game = run.game(step())._replace(config=run.config.model_copy(update={"model": model}))
    for block in run.generator.shortcut.modules():
        if isinstance(block, nn.Dropout):
            monkeypatch.setattr(block, "p", 0.3)
    joint_ear_turn(game, both)
    joint_turn(game, both)
    assert len(phases) == 4  # of real sound, of its reconstruction, and of either turn's composition
    assert phases[2].shape == phases[3].shape and not torch.equal(phases[2], phases[3])


def test_a_part_of_the_batch_that_had_its_last_turn_holds_nothing_any_more(run: TrainingRun):
    sounds = [*draw_sounds(run, step(), "ear"), *draw_sounds(run, Step((0, "test"), 1, 0.5), "ear")]
    held: list[list[bool]] = []

    def noted(game: Game, sound: SoundBatch) -> Turn:
        held.append([bool(one.once._made) for one in sounds])
        return decoder_turn(game, sound)

    optimizer = torch.optim.SGD(run.generator.autoencoder.decoder.parameters(), lr=0.0)
    game = run.game(step())._replace(move=lambda optimizer, *, clip: torch.zeros(()))
    adversarial_step(game, [Player("ear", optimizer, ear_turn)], Player("decoder", optimizer, noted), sounds)
    gradients(run, torch.zeros((), requires_grad=True))  # clears them
    assert held == [[True, True], [False, True]]
    assert not any(one.once._made for one in sounds)


def ears_step(run: TrainingRun, *, is_ahead: bool) -> tuple[Game, Player, list[Player], list]:
    sounds = draw_sounds(run, step(), "ear")
    decoder = Player("decoder", idle(run), decoder_turn, ahead=rebuild_ahead if is_ahead else None)
    return run.game(step()), decoder, [Player("ear", idle(run), ear_turn)], sounds


def professors_step(run: TrainingRun, *, is_ahead: bool) -> tuple[Game, Player, list[Player], list]:
    compositions = draw_compositions(run, step(), "professor")
    shortcut = Player("shortcut", idle(run), shortcut_turn, ahead=compose_ahead if is_ahead else None)
    return run.game(step()), shortcut, [Player("professor", idle(run), professor_turn)], compositions


def joint_step(run: TrainingRun, *, is_ahead: bool) -> tuple[Game, Player, list[Player], list]:
    batches = draw_both(run, step(), "joint", frames=32)
    generator = Player("generator", idle(run), joint_turn, ahead=both_ahead if is_ahead else None)
    judges = [Player("professor", idle(run), on_composition(professor_turn)), Player("ear", idle(run), joint_ear_turn)]
    return run.game(step()), generator, judges, batches


def idle(run: TrainingRun) -> torch.optim.Optimizer:
    return torch.optim.SGD(run.generator.parameters(), lr=0.0)


@pytest.mark.parametrize(
    ("play", "decoded_anew", "decoded_ahead"), [(ears_step, 2, 1), (professors_step, 0, 0), (joint_step, 4, 2)]
)
def test_a_generator_that_makes_its_sound_ahead_of_the_judges_learns_the_same(
    run: TrainingRun, play, decoded_anew: int, decoded_ahead: int, monkeypatch
):
    decoded: list[int] = []
    decoder = run.generator.autoencoder.decoder
    original = decoder.forward
    monkeypatch.setattr(decoder, "forward", lambda *given: (decoded.append(1), original(*given))[1])
    queues = {name: value.clone() for name, value in run.discriminator.named_buffers()}
    found, terms, calls = [], [], []
    for is_ahead in (False, True):
        for name, value in run.discriminator.named_buffers():
            value.copy_(queues[name])
        moved: dict[str, Tensor] = {}

        def move(optimizer, *, clip: float, moved: dict[str, Tensor] = moved) -> Tensor:
            for key, network in (("g", run.generator), ("d", run.discriminator)):
                for name, parameter in network.named_parameters():
                    if parameter.grad is not None:
                        moved[f"{len(moved)}.{key}.{name}"] = parameter.grad.clone()
                network.zero_grad(set_to_none=True)
            return torch.zeros(())

        decoded.clear()
        game, generator, judges, batches = play(run, is_ahead=is_ahead)
        terms.append(adversarial_step(game._replace(move=move), judges, generator, batches))
        found.append(moved)
        calls.append(len(decoded))
    assert found[0].keys() == found[1].keys() and found[0]
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-4, atol=1e-6, msg=name)
    for name, value in terms[0].items():
        torch.testing.assert_close(value, terms[1][name], rtol=1e-4, atol=1e-6, msg=name)
    assert calls == [decoded_anew, decoded_ahead]


def test_in_parts_nothing_is_made_ahead(run: TrainingRun):
    sounds = draw_sounds(run, step(), "ear")
    made: list[SoundBatch] = []
    decoder = Player("decoder", idle(run), decoder_turn, ahead=lambda game, sound: made.append(sound))
    game = run.game(step())._replace(move=lambda optimizer, *, clip: torch.zeros(()))
    adversarial_step(game, [Player("ear", idle(run), ear_turn)], decoder, [*sounds, *draw_sounds(run, step(), "ear")])
    assert not made
    adversarial_step(game, [Player("ear", idle(run), ear_turn)], decoder, sounds)
    gradients(run, torch.zeros((), requires_grad=True))  # clears them
    assert made == sounds


def test_what_was_made_once_has_no_gradient_and_is_made_once():
    weight = torch.ones(2, requires_grad=True)
    calls: list[int] = []
    once = Once()

    def make() -> Tensor:
        calls.append(1)
        return 3.0 * weight

    first, second = once("sound", make), once("sound", make)
    assert first is second and not first.requires_grad
    assert len(calls) == 1
    assert once("other", lambda: 7) == 7
