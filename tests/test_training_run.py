"""Resuming equals never having stopped, players keep out of each other's gradients, micro-batches equal the batch."""

import copy
import json

import numpy as np
import pytest
import torch

from piano.composer import Composer, Sampling
from piano.foundation.checkpoint_format import Best, checkpoint_path, complete_epochs, find_epoch, read_best
from piano.foundation.errors import CheckpointError, TrainingError
from piano.foundation.run_log import read_history
from piano.piano_main import too_little_memory
from piano.piano_pretrain import (
    NoisySound,
    autoencoder_pass,
    pretrain_generator,
    train_autoencoder,
    train_flow,
)
from piano.piano_train import (
    compose,
    draw_compositions,
    draw_sounds,
    ear_turn,
    judge,
    professor_turn,
    professor_verdicts,
    shortcut_turn,
)
from piano.stages import RECONSTRUCTED, STAGE_NAMES, STAGES
from piano.training.game import Player, adversarial_step
from piano.training.model_average import ModelAverage
from piano.training.schedules import Opening, Step
from piano.training.training_run import TrainingRun
from piano.utilities import load_generator
from piano.watching.gates import Gatekeeper
from piano.watching.live import Doctor
from piano.watching.validation import Validation
from tests.same_run import Interrupted, assert_same, run_weights, weights
from tests.tiny_run import On, start_run, tiny_config, tonal_pairs, train_all


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    run = start_run(tiny_config(folder))
    train_all(run)
    return run, folder


def test_every_stage_ran_and_left_complete_checkpoints(whole):
    run, folder = whole
    assert run.finished_stages == list(STAGE_NAMES)
    assert complete_epochs(folder)[-1] == run.epoch
    stages = [entry["stage"] for entry in read_history(folder) if "step" in entry]
    assert sorted(set(stages), key=STAGE_NAMES.index) == list(STAGE_NAMES)


@pytest.mark.parametrize("stop_after", [pytest.param(3, marks=pytest.mark.slow), 8])
def test_resumed_training_equals_uninterrupted(whole, tmp_path, stop_after):
    finished, whole_folder = whole
    if stop_after >= finished.epoch:
        pytest.skip("the run has fewer epochs")
    config = tiny_config(tmp_path)

    def interrupt(run: TrainingRun) -> None:
        if run.epoch == stop_after:
            raise Interrupted

    first = start_run(config)
    first.watch(On(after_save=interrupt))
    with pytest.raises(Interrupted):
        train_all(first)

    second = start_run(config)
    torch.manual_seed(12345)  # whatever was drawn before must not matter
    assert second.resume() == stop_after
    train_all(second)
    assert_same(run_weights(second), run_weights(finished))
    steps = [entry["total_step"] for entry in read_history(tmp_path) if "step" in entry]
    assert steps == [entry["total_step"] for entry in read_history(whole_folder) if "step" in entry]


def test_resuming_keeps_the_best_epoch_and_forgets_one_that_came_later(tmp_path):
    config = tiny_config(tmp_path)
    run = start_run(config)
    scores = {"autoencoder": 0.5, "flow": 0.2}
    run.watch(On(after_stage=lambda run, stage: run.score(scores[stage], steps=16)))
    train_autoencoder(run)
    first = read_best(tmp_path)
    assert first == Best(2, 0.5, 16, "autoencoder")
    train_flow(run)
    assert read_best(tmp_path) == Best(run.epoch, 0.2, 16, "flow")
    checkpoint_path(tmp_path, "generator", run.epoch).write_bytes(b"damaged")
    again = start_run(config)
    assert again.resume() == run.epoch - 1
    assert again.best == first == read_best(tmp_path)


def test_a_worse_score_and_one_that_is_no_number_do_not_become_the_best(tmp_path):
    run = start_run(tiny_config(tmp_path))
    for epoch, distance in enumerate([float("nan"), 0.3, 0.1, 0.2, float("nan"), 0.1], start=1):
        run.epoch = epoch
        run.score(distance, steps=epoch)
    assert run.best == Best(6, 0.1, 6, "")  # as good as an earlier one, and longer trained
    run.save()
    assert find_epoch(tmp_path, "generator", "best") == 6


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"epoch": 1}',
        '{"epoch": 1e999}',
        "\xff",
        "[" * 10**5,
        '{"epoch": 1, "kernel_distance": 0.1, "stage": "flow", "steps": 1000000000}',
        '{"epoch": 1, "kernel_distance": NaN, "stage": "flow", "steps": 4}',
        '{"epoch": 1, "kernel_distance": 0.1, "stage": "\\u001b]0;x", "steps": 4}',
    ],
)
def test_a_damaged_best_file_means_the_newest_epoch(tmp_path, text, caplog):
    run = start_run(tiny_config(tmp_path))
    for run.epoch in (1, 2):
        run.save()
    (tmp_path / "best.json").write_text(text, encoding="latin-1")
    assert find_epoch(tmp_path, "generator", "best") == 2
    passed_over, taken = caplog.messages
    assert passed_over.startswith(f"{tmp_path / 'best.json'} is passed over: ") and len(passed_over) < 400
    assert taken == f"{tmp_path}: no composition was judged yet, so the newest epoch 2 is taken."


def test_a_best_epoch_that_was_deleted_means_the_newest_epoch(tmp_path, caplog):
    run = start_run(tiny_config(tmp_path))
    for run.epoch in (1, 2):
        run.score(1.0 * run.epoch, steps=1)
        run.save()
    assert find_epoch(tmp_path, "generator", "best") == 1
    checkpoint_path(tmp_path, "generator", 1).unlink()
    assert find_epoch(tmp_path, "generator", "best") == 2
    assert "epoch 1, the best, is gone" in caplog.text


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(whole, tmp_path):
    config = tiny_config(tmp_path)
    run = start_run(config)
    train_autoencoder(run)
    newest = complete_epochs(tmp_path)[-1]
    path = checkpoint_path(tmp_path, "generator", newest)
    path.write_bytes(path.read_bytes()[:1000])
    assert start_run(config).resume() == newest - 1


def test_resuming_without_a_checkpoint_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        start_run(tiny_config(tmp_path)).resume()


def test_not_a_number_stops_with_term_and_step_named_and_keeps_the_last_checkpoint(tmp_path):
    run = start_run(tiny_config(tmp_path))

    def poison(saved: TrainingRun) -> None:
        with torch.no_grad():
            saved.generator.autoencoder.decoder.head.weight.fill_(float("nan"))

    run.watch(On(after_save=poison))
    with pytest.raises(TrainingError, match=r"reconstruction is nan in stage autoencoder, epoch 2, step 2"):
        train_autoencoder(run)
    assert complete_epochs(tmp_path) == [1]
    saved = torch.load(checkpoint_path(tmp_path, "generator", 1), weights_only=True)
    assert all(torch.isfinite(value).all() for value in saved["model"].values() if value.is_floating_point())


def test_no_gradient_crosses_between_players(tmp_path):
    run = start_run(tiny_config(tmp_path))
    train_autoencoder(run)
    train_flow(run)
    ear = judge(run, "ear", ear_turn, stage="ear")
    professor = judge(run, "professor", professor_turn, stage="professor")
    shortcut = Player("shortcut", torch.optim.SGD(run.generator.shortcut.parameters(), lr=0.1), shortcut_turn)
    before = weights(run.generator)
    step = Step((0, "test"), 0, 0.5)
    adversarial_step(run.game(step), [ear], None, draw_sounds(run, step, "ear"))
    compositions = draw_compositions(run, step, "professor")
    adversarial_step(run.game(step), [professor], None, compositions)
    assert all(parameter.grad is None for parameter in run.generator.parameters())
    assert_same(before, weights(run.generator))

    adversarial_step(run.game(Step((0, "test"), 1, 0.5, Opening(is_alone=True))), [professor], shortcut, compositions)
    assert all(parameter.grad is None for parameter in run.discriminator.parameters())
    moved = {key for key, value in run.generator.state_dict().items() if not torch.equal(value, before[key])}
    assert moved and all(key.startswith("shortcut") for key in moved)
    adversarial_step(run.game(step), [], shortcut, compositions)
    assert all(parameter.grad is None for parameter in run.discriminator.parameters())
    encoder = list(run.generator.autoencoder.encoder.parameters())
    assert all(parameter.grad is None for parameter in encoder)
    assert all(parameter.requires_grad for parameter in run.discriminator.parameters())


class StillStep(Step):
    """A step whose noise is silence: what is moved by it stays where it is."""

    def noise(self, purpose: str, *shape: int) -> torch.Tensor:
        return torch.zeros(shape)


def test_a_judge_that_sees_the_same_twice_is_not_penalised_and_remembers_it_once(tmp_path):
    run = start_run(tiny_config(tmp_path))
    train_autoencoder(run)
    train_flow(run)
    step = Step((0, "test"), 0, 0.5)
    (batch,) = draw_compositions(run, step, "professor")
    game = run.game(step)
    minibatch = run.discriminator.professor.minibatch
    for count in (4, 8):  # with an empty crowd, and with one
        fake = compose(run.generator, batch, batch.noise_a)
        moved = professor_verdicts(game, batch, fake)
        still = professor_verdicts(run.game(StillStep((0, "test"), 0, 0.5)), batch, fake)
        assert float(moved.parts["penalty"].detach()) > 0.0
        assert float(still.parts["penalty"].detach()) == 0.0
        turn = professor_turn(game, batch)
        turn.total.backward()
        turn.settle(1)
        assert minibatch.filled.tolist() == [count, count]


def test_every_optimiser_moves_its_own_network_and_only_it(tmp_path):
    run = start_run(tiny_config(tmp_path))
    train_autoencoder(run)
    train_flow(run)
    ear = judge(run, "ear", ear_turn, stage="ear")
    professor = judge(run, "professor", professor_turn, stage="ear")
    step = Step((0, "test"), 0, 0.5)
    state = run_weights(run)
    adversarial_step(run.game(step), [professor], None, draw_compositions(run, step, "professor"))
    moved = {key for key, value in run_weights(run).items() if not torch.equal(value, state[key])}
    assert moved
    assert all(key.startswith(("d.professor", "d.trained_steps")) for key in moved)
    state = run_weights(run)
    adversarial_step(run.game(step), [ear], None, draw_sounds(run, step, "ear"))
    moved = {key for key, value in run_weights(run).items() if not torch.equal(value, state[key])}
    assert moved
    assert all(key.startswith(("d.ear", "d.trained_steps")) for key in moved)


def test_every_parameter_of_a_network_gets_a_gradient(tmp_path):
    run = start_run(tiny_config(tmp_path))
    reached = {"autoencoder": set(), "attention": set(), "shortcut": set(), "ear": set(), "professor": set()}
    networks = {
        "autoencoder": run.generator.autoencoder,
        "attention": run.generator.attention,
        "shortcut": run.generator.shortcut,
        "ear": run.discriminator.ear,
        "professor": run.discriminator.professor,
    }
    original = run.take_step

    def watch(optimizer, *, clip):
        for name, network in networks.items():
            for key, parameter in network.named_parameters():
                if parameter.grad is not None and bool(parameter.grad.abs().sum() > 0):
                    reached[name].add(key)
        return original(optimizer, clip=clip)

    run.take_step = watch
    train_all(run)
    for name, network in networks.items():
        assert reached[name] == {key for key, _ in network.named_parameters()}


def test_accumulated_gradients_equal_the_large_batch(tmp_path):
    gradients = []
    for parts in (1, 4):
        run = start_run(tiny_config(tmp_path, accumulation_steps=parts))
        waveforms = run.data.draw_waveforms(Step((0, "test"), 0, 0.0), 4, 16)
        noise = torch.zeros(4, 16, 8)
        for part in run.runtime.micro_batches(4, parts):
            sound = NoisySound(waveforms[part], noise[part], noise[part])
            passed = autoencoder_pass(run.game(Step((0, "test"), 0, 0.0)), sound)
            ((passed.reconstruction + 0.01 * passed.kl) / parts).backward()  # free bits are a statistic of the batch
        gradients.append(
            torch.cat([p.grad.flatten() for p in run.generator.autoencoder.parameters() if p.grad is not None])
        )
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


def test_validation_is_never_trained_on(tmp_path):
    run = start_run(tiny_config(tmp_path))
    run.data.sets["validation"].pairs = np.full_like(tonal_pairs(2), np.nan)  # any use of it would end the run
    run.data.sets["training"].pairs = tonal_pairs(seed=3)
    train_all(run)
    assert run.finished_stages == list(STAGE_NAMES)


def test_fewer_pairs_than_a_batch_are_drawn_again_and_again(tmp_path):
    run = start_run(tiny_config(tmp_path, stages__flow__share=0.0, pretrain_epochs_g=2), pairs=tonal_pairs(2))
    run.data.sets["training"].pairs = run.data.sets["training"].pairs[:1]
    assert len(run.data.sets["training"]) < run.config.batch_size
    pretrain_generator(run)
    assert run.total_step == 4


def test_the_log_holds_one_line_for_every_step_and_only_terms_that_were_used(whole):
    _, folder = whole
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "step" in line]
    assert [line["total_step"] for line in steps] == list(range(len(steps)))
    assert {"reconstruction", "kl", "beta"} <= steps[0].keys()
    joint = next(line for line in steps if line["stage"] == "joint")
    assert {"melody_d", "adversarial", "energy_score", "ear_loss", "professor_loss"} <= joint.keys()


def test_the_flow_hears_half_windows_first(tmp_path):
    run = start_run(tiny_config(tmp_path, stages__flow__short_share=0.5))
    pretrain_generator(run)
    flow = [line["audio_seconds"] for line in read_history(tmp_path) if line.get("stage") == "flow" and "step" in line]
    whole = run.batch_size("flow") * run.settings("flow").frames / run.generator.frames_per_second
    assert len(flow) == 4
    assert flow == pytest.approx([whole / 2, whole / 2, whole, whole])


def test_too_small_a_memory_is_answered_with_the_same_steps_in_more_parts(tmp_path):
    run = start_run(tiny_config(tmp_path, accumulation_steps=2))
    run.stage = "flow"
    assert too_little_memory(run).endswith(
        "for the batch of stage flow. Give --set accumulation_steps=4: the same steps, each in 4 parts."
    )
    run.saved_epoch = 3
    assert "Give --resume --set accumulation_steps=4" in too_little_memory(run)
    run = start_run(tiny_config(tmp_path, accumulation_steps=4))
    assert too_little_memory(run).endswith("Choose a smaller preset or batch_size.")


@pytest.mark.parametrize("precision", [pytest.param("32", marks=pytest.mark.slow), "bf16"])
def test_a_run_in_stereo_learns_one_spectrum_its_image_and_what_comes_again(tmp_path, precision):
    folder = tmp_path / "run"
    config = tiny_config(
        folder,
        model__sound_channels=2,
        model__image_bands=16,
        model__repeat_signals=2,
        discriminator__wave_windows=[256],
        doctor_window=2,
        runtime__precision=precision,
    )
    gatekeeper = Gatekeeper(folder, sample_seconds=config.sample_seconds, sample_count=1)
    run = start_run(config, watchers=[Doctor("act", window=2), Validation(), gatekeeper])
    train_all(run)
    log = read_history(folder)
    measured = {line["stage"] for line in log if line.get("event") == "signals"}
    judged = {line["stage"] for line in log if line.get("event") == "gate"}
    validated = {line["stage"] for line in log if line.get("event") == "validation"}
    assert measured >= {stage.name for stage in STAGES if stage.signals}
    assert judged >= {stage.name for stage in STAGES if stage.gate}
    assert validated >= {stage.name for stage in STAGES if stage.validation}
    generator = load_generator(folder)
    assert generator.autoencoder.values == 257 + 2 * 16 and generator.style.has_repeats
    assert float(generator.texture_of(RECONSTRUCTED).amount.max()) > 0.0
    sound = Composer(generator, Sampling(0, 4)).generate(1.0)
    assert sound.shape == (1, 2, 8000) and torch.isfinite(sound).all() and not torch.equal(sound[0, 0], sound[0, 1])


def test_the_average_is_that_of_every_parameter_whether_it_moves_or_rests(tmp_path):
    network = start_run(tiny_config(tmp_path)).generator
    average = ModelAverage(network, 0.9)
    plain = copy.deepcopy(network)
    random = torch.Generator().manual_seed(4)
    moving = [["autoencoder.decoder"], ["autoencoder.decoder"], [], [], ["attention"], ["attention"], [], [], []]
    for count, parts in enumerate(moving, start=1):
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name.startswith(tuple(parts)) and parts:
                    parameter.add_(torch.randn(parameter.shape, generator=random))
            if count == 7:  # a remedy puts earlier weights back
                for parameter in (*plain.attention.parameters(), *average.network.attention.parameters()):
                    parameter.zero_()
            for own, new in zip(plain.parameters(), network.parameters(), strict=True):
                own.lerp_(new, 1.0 - min(0.9, count / (count + 9.0)))
        average.update(network)
        for (name, own), wanted in zip(average.network.named_parameters(), plain.parameters(), strict=True):
            assert torch.equal(own, wanted), (count, name)
