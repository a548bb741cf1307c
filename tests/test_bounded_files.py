"""No file asks for more than it holds: numbers of models, of settings, of run positions and of command lines."""

import copy
import inspect
import json
import math
import struct
from pathlib import Path
from typing import Any

import fuzz_checkpoints
import fuzz_configs
import pytest
import torch
from fuzz_common import PASSED, REFUSED

from piano import generate_music
from piano.config_reader import ModelSettings, load_config_from_yaml
from piano.evaluate import parse_arguments as evaluate_arguments
from piano.foundation import bounds
from piano.foundation import options as kinds
from piano.foundation.checkpoint_format import BEST_NAME, are_plain, checkpoint_path, read_checkpoint
from piano.foundation.errors import CheckpointError, ConfigError
from piano.foundation.receipt import Receipt, find_below, is_below
from piano.foundation.shipped_format import shipped_path, sorted_header, write_shipped
from piano.piano_model import VariationalAttentionModel
from piano.piano_pretrain import pretrain_generator
from piano.training.run_position import check_optimizer, check_position
from piano.utilities import load_checkpoint, load_generator
from piano.vae_utilities import save_checkpoint
from tests.test_piano_model import build
from tests.tiny_run import start_run, tiny_config


@pytest.fixture(scope="module")
def generator():
    return build()


def play(folder: Path, *more: str) -> int:
    arguments = ["--checkpoints", str(folder), "--output", str(folder / "out"), "--seconds", "0.5", "--count", "1"]
    return generate_music.main([*arguments, "--epoch", "latest", "--device", "cpu", "--phase-iterations", "1", *more])


@pytest.mark.parametrize("is_shipped", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {"latent_seq_len": 10**6},
        {"latent_seq_len": 2**31 - 1},
        {"latent_seq_len": 2},
        {"latent_seq_len": 0},
        {"latent_seq_len": 16.5},
        {"sample_rate": 10**9},
        {"sample_rate": 0},
        {"sample_rate": 0.5},
        {"num_heads": 5},
        {"sample_rate": True},
        {"epoch": -1},
        {"default_steps": 10**9},
        {"default_steps": 0},
        {"default_steps": -5},
    ],
)
def test_a_number_without_a_tensor_is_bounded_in_both_formats(generator, tmp_path, capsys, is_shipped, changes):
    keywords = generator.keywords | {name: value for name, value in changes.items() if name in generator.keywords}
    state = generator.state_dict() | {name: torch.tensor(value) for name, value in changes.items() if "steps" in name}
    epoch = changes.get("epoch", 1)
    if is_shipped:
        path = shipped_path(tmp_path, "generator")
        write_shipped(path, "generator", epoch=epoch, keywords=keywords, state=state)
    else:
        path = checkpoint_path(tmp_path, "generator", 1)
        save_checkpoint(generator, 1, tmp_path, "generator")
        content = torch.load(path, weights_only=True)
        torch.save(content | {"epoch": epoch, "keywords": keywords, "model": state}, path)
    assert play(tmp_path) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert ("is damaged: its " in line and " must be " in line) or "build no network" in line


@pytest.mark.parametrize("steps", [10**9, 10**30, 0, -1, 2.5, "4", None])
def test_a_best_file_that_asks_for_any_number_of_steps_is_passed_over(generator, tmp_path, caplog, steps):
    save_checkpoint(generator, 1, tmp_path, "generator")
    best = {"epoch": 1, "kernel_distance": 0.1, "stage": "flow", "steps": steps}
    (tmp_path / BEST_NAME).write_text(json.dumps(best))
    content = load_checkpoint(tmp_path, "generator")
    assert int(content["model"]["default_steps"]) == 16
    assert "is passed over: steps must be a whole number from 1 to 1,000" in caplog.text


def test_the_library_and_the_command_line_take_the_best_epoch(generator, tmp_path):
    for epoch in (1, 2):
        save_checkpoint(generator, epoch, tmp_path, "generator")
    (tmp_path / BEST_NAME).write_text('{"epoch": 1, "kernel_distance": 0.1, "stage": "flow", "steps": 3}')
    assert load_checkpoint(tmp_path, "generator")["epoch"] == 1
    assert int(load_generator(tmp_path).default_steps) == 3
    assert int(load_generator(tmp_path, "latest").default_steps) == 16


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e20, 3e38])
def test_weights_that_make_no_sound_are_one_sentence(generator, tmp_path, capsys, value):
    save_checkpoint(generator, 1, tmp_path, "generator")
    path = checkpoint_path(tmp_path, "generator", 1)
    content = torch.load(path, weights_only=True)
    content["model"]["autoencoder.decoder.head.weight"][:] = value
    torch.save(content, path)
    assert play(tmp_path) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "not finite" in line


def test_the_same_model_gives_the_same_bytes_and_still_reads(generator, tmp_path):
    files = []
    for number in range(3):
        path = tmp_path / f"{number}.safetensors"
        write_shipped(path, "generator", epoch=1, keywords=generator.keywords, state=generator.state_dict())
        files.append(path.read_bytes())
    assert files[0] == files[1] == files[2]
    (size,) = struct.unpack("<Q", files[0][:8])
    header = json.loads(files[0][8 : 8 + size])
    assert size % 8 == 0 and list(header) == sorted(header)
    assert list(header["__metadata__"]) == sorted(header["__metadata__"])
    assert sorted_header(files[0]) == files[0]


# --- where a run stood ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[str, Any]:
    """A generator's checkpoint in the middle of a run, with the run that wrote it."""
    folder = tmp_path_factory.mktemp("position")
    run = start_run(tiny_config(folder, pretrain_epochs_g=2))
    pretrain_generator(run)
    content = read_checkpoint(checkpoint_path(folder, "generator", run.saved_epoch), "generator")
    check_position(content, run.stateful)
    return {"content": content, "stateful": run.stateful}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stage", 5),
        ("stage", "dessert"),
        ("stage_step", "many"),
        ("stage_step", 10**15),
        ("stage_began", math.nan),
        ("seconds", "long"),
        ("seconds", math.nan),
        ("seconds", -1.0),
        ("seconds", math.inf),
        ("epoch", "first"),
        ("epoch", 10**8),
        ("total_step", -1),
        ("controllers", "beta"),
        ("controllers", {"beta": "x"}),
        ("controllers", {"beta": math.nan}),
        ("factors", "beta"),
        ("factors", {"beta": math.inf}),
        ("measured", {3: 1.0}),
        ("measured", {"R_before_ear": "x"}),
        ("finished_stages", "flow"),
        ("finished_stages", ["dessert"]),
        ("average_updates", 0.5),
        ("average_updates", None),
        ("random", None),
        ("random", torch.zeros(3)),
        ("precision", "8"),
        ("threads", 10**30),
        ("log_bytes", -1),
        ("log_bytes", "x"),
        ("best", "good"),
        ("best", {"epoch": "x"}),
        ("best", {"epoch": 1, "kernel_distance": math.nan, "steps": 1, "stage": ""}),
        ("stateful", {"schedules": 5}),
        ("stateful", {"schedules": {"stage": 5}}),
        ("stateful", {"schedules": {"early_stop": {"bad_epochs": "x"}}}),
        ("stateful", {"budget": {"saving": math.nan}}),
    ],
)
def test_every_field_of_a_run_position_is_checked(saved, name, value):
    content = saved["content"]
    edited = content | {"run": content["run"] | {name: value}}
    with pytest.raises(CheckpointError, match="does not say where its run stood") as refusal:
        check_position(edited, saved["stateful"])
    assert len(str(refusal.value)) < 400
    if name in ("stage", "seconds", "random"):
        gone = {key: kept for key, kept in content["run"].items() if key != name}
        with pytest.raises(CheckpointError, match=f"'{name}' is missing"):
            check_position(content | {"run": gone}, saved["stateful"])


def test_an_optimiser_s_state_must_be_finite_and_fit_what_it_moves(saved):
    weight = torch.nn.Parameter(torch.ones(4, 3))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    weight.square().sum().backward()
    optimizer.step()
    good = optimizer.state_dict()
    check_optimizer(optimizer, good)
    moved = good["state"][0] | {"exp_avg": torch.zeros(5, 3)}
    with pytest.raises(ValueError, match="exp_avg has another shape"):
        check_optimizer(optimizer, good | {"state": {0: moved}})
    with pytest.raises(ValueError, match="betas is a str"):
        check_optimizer(optimizer, good | {"param_groups": [good["param_groups"][0] | {"betas": "ab"}]})
    broken = good["state"][0] | {"exp_avg": torch.full((4, 3), math.nan)}
    edited = saved["content"] | {"optimizers": {"flow": good | {"state": {0: broken}}}}
    with pytest.raises(CheckpointError, match="exp_avg holds numbers that are not finite"):
        check_position(edited, saved["stateful"])


# --- numbers that are typed, and names in receipts ------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-inf", "1e400", "-1", "-0", "0", "x", "", "٣", "1_0", " 3", "1e99", "9" * 99]
)
def test_a_length_that_is_none_is_refused_by_every_command(text, capsys):
    for parse, others in (
        (generate_music.parse_arguments, []),
        (evaluate_arguments, ["--generated", "x", "--real", "y"]),
    ):
        with pytest.raises(SystemExit) as stop:
            parse([*others, f"--seconds={text}"])
        assert stop.value.code == 2
        told = " ".join(capsys.readouterr().err.split())
        is_endless = text == "inf" and parse is generate_music.parse_arguments  # that only a pipe can take
        asked = "--seconds inf has no end" if is_endless else "is not a number above 0 to 604,800"
        assert asked in told


def test_numbers_are_read_with_plain_digits_and_within_their_bounds():
    assert kinds.count("12") == 12 and kinds.seconds("1e1") == 10.0 and kinds.any_seed("-5") == -5
    assert kinds.steps("auto") == "auto" and kinds.steps("+04") == "4" and kinds.epoch("best") == "best"
    assert kinds.any_seed(str(2**64)) == 2**64
    for kind, text in (
        (kinds.count, "0"),
        (kinds.count, "²"),
        (kinds.count, "1.0"),
        (kinds.seed, str(2**63)),
        (kinds.steps, "0"),
        (kinds.steps, "1001"),
        (kinds.epoch, "newest"),
        (kinds.threads, "9" * 5000),
        (kinds.minutes, "nan"),
        (kinds.processes, "1000000"),
    ):
        with pytest.raises(Exception, match=" is not a ") as refusal:
            kind(text)
        assert len(str(refusal.value)) < 200


def test_a_receipt_s_names_stay_in_the_folder(tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "a.wav").write_bytes(b"x")
    (tmp_path / "music" / "link.wav").symlink_to(tmp_path / "above.wav")
    (tmp_path / "above.wav").write_bytes(b"x")
    assert find_below("music/a.wav", tmp_path) == tmp_path / "music" / "a.wav"
    for name in ("../above.wav", "/proc/kmsg", "~root/x", "", ".", "a/../../above.wav", "link.wav", "C:\\x", "n" * 400):
        assert find_below(name, tmp_path / "music") is None
    assert is_below("runs/mine") and not is_below("~nosuchuser/x")


def test_a_receipt_asks_for_no_more_than_a_composition_may_take():
    limits = {"steps": bounds.SAMPLING_STEPS, "phase_iterations": bounds.PHASE_ITERATIONS, "threads": bounds.THREADS}
    for name, bound in limits.items():
        (most,) = [item.le for item in Receipt.model_fields[name].metadata if hasattr(item, "le")]
        assert most == bound.high


# --- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", math.inf),
        ("kl_target", math.inf),
        ("penalty", math.nan),
        ("loss_weights.melody", math.nan),
        ("loss_weights.melody", math.inf),
        ("seed", 2**64),
        ("seed", -(2**63) - 1),
        ("minutes", math.inf),
        ("minutes", "inf"),
        ("sample_seconds", math.inf),
        ("model.n_fft", 8),
        ("model.latent_dim", 1),
        ("stages.flow.frames", 1),
        ("stages.ear.frames", 10**9),
        ("stages.ear.frames", 2_000),
        ("runtime.threads", 10**30),
        ("model.num_layers", 10**9),
        ("discriminator.wave_windows", [1024] * 17),
        ("discriminator.wave_windows", [18]),
        ("discriminator.professor_layers", 9),
        ("runtime.devices", 10**6),
        ("finetune.shares", {"x": 1.0}),
        ("finetune.shares", {"flow": math.nan}),
        ("dataset_folder", "a\0b"),
        ("dataset_folder", "\ud800"),
        ("dataset_folder", "x" * 300),
        ("dataset_folder", "~nosuchuser"),
        ("model", 3),
        ("schedulers.g_plateau.min_lr", math.nan),
        ("preset.tiny", 3),
    ],
)
def test_a_setting_that_no_run_can_have_is_one_sentence(key, value):
    with pytest.raises(ConfigError) as refusal:
        load_config_from_yaml(overrides={key: value})
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400
    assert key.partition(".")[0] in str(refusal.value) or "home folder" in str(refusal.value)


def test_a_guess_is_offered_only_where_it_is_near():
    with pytest.raises(ConfigError, match=r"batchsize is not a setting\. Did you mean batch_size\?"):
        load_config_from_yaml(overrides={"batchsize": 3})
    with pytest.raises(ConfigError, match=r"pineapple is not a setting\.$"):
        load_config_from_yaml(overrides={"pineapple": 3})


def test_settings_changed_at_random_are_read_or_refused():
    outcomes = dict(fuzz_configs.fuzz(24, 3, run=False, seconds=20.0, is_apart=False))
    assert {outcome.kind for outcome in outcomes.values()} == {PASSED, REFUSED}, outcomes


def test_models_changed_at_random_are_played_or_refused():
    quick = ("generate",)  # the command tries all of them, for as long as one likes
    outcomes = list(fuzz_checkpoints.fuzz(8, 3, seconds=60.0, is_apart=False, only=quick))
    assert {outcome.kind for _, outcome in outcomes} == {PASSED, REFUSED}, outcomes


def test_what_no_checkpoint_can_hold_is_refused_before_it_is_written(generator, tmp_path):
    generator = copy.deepcopy(generator)
    known = dict(generator.keywords)
    for value in ("a name that is none", -1, [0.5] * 17, None, {"a": 1}):
        generator.keywords = known | {"encoder": value}
        with pytest.raises(CheckpointError, match="built with encoder=.* which a checkpoint cannot hold"):
            save_checkpoint(generator, 1, tmp_path, "generator")
    assert list(tmp_path.iterdir()) == []
    generator.keywords = known | {"encoder": "conv2d"}
    content = torch.load(save_checkpoint(generator, 1, tmp_path, "generator"), weights_only=True)
    assert are_plain(content["keywords"]) and content["keywords"]["encoder"] == "conv2d"


def test_settings_limits_and_keywords_of_the_network_have_the_same_names():
    keywords = inspect.signature(VariationalAttentionModel.__init__).parameters.keys() - {"self"}
    assert keywords == ModelSettings.model_fields.keys() == bounds.MODEL.keys()
