"""Old checkpoints in today's networks: other names are carried over and said; what does not fit is named."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from piano.foundation.checkpoint_format import checkpoint_path, write_whole
from piano.foundation.errors import CheckpointError, StoppedBySignal
from piano.foundation.run_log import read_history
from piano.foundation.texture import Texture
from piano.latent_style import LatentStyle
from piano.piano_pretrain import train_autoencoder
from piano.training.training_run import TrainingRun
from piano.update_checkpoint import RENAMED_KEYS, rename_key, renamed_in_words, update_checkpoint, with_present_names
from piano.utilities import load_generator
from piano.watching.live import Doctor
from tests.same_run import CLOCKS
from tests.tiny_run import start_run, tiny_config

PROJECT = Path(__file__).resolve().parents[1]


def as_of_old(value: Any) -> Any:
    """A checkpoint's content under the names that its tensors had once."""
    if isinstance(value, list):
        return [as_of_old(inside) for inside in value]
    if not isinstance(value, dict):
        return value
    return {former_key(key): as_of_old(inside) for key, inside in value.items()}


def former_key(key: Any) -> Any:
    """The name of old of a state-dict key."""
    for old, new in RENAMED_KEYS.items():
        if str(key).startswith(new):
            return old + key.removeprefix(new)
    return key


def make_old(folder: Path, epoch: int) -> None:
    """Give the tensors of a saved pair the names that they had once, and keep its memories in one."""
    for role in ("generator", "discriminator"):
        path = checkpoint_path(folder, role, epoch)
        content = as_of_old(torch.load(path, weights_only=True))
        if role == "generator":
            place = content["run"]
            place["controllers"] |= {f"doctor/{name}": value for name, value in place.pop("factors").items()}
            place["controllers"] |= place.pop("measured")
        write_whole(path, lambda file, content=content: torch.save(content, file))


def log_of(folder: Path) -> list[dict[str, Any]]:
    """What a run logged, but for its clocks."""
    return [{key: value for key, value in line.items() if key not in CLOCKS} for line in read_history(folder)]


def begun(folder: Path) -> TrainingRun:
    """A run of the autoencoder, watched by a doctor who keeps weights."""
    config = tiny_config(folder, pretrain_epochs_g=4, stages__flow__share=0.0)
    return start_run(config, watchers=[Doctor("act", window=2)])


def test_every_renamed_part_is_in_the_network_of_today(tmp_path) -> None:
    keys = start_run(tiny_config(tmp_path)).generator.state_dict().keys()
    for old, new in RENAMED_KEYS.items():
        assert any(key.startswith(new) for key in keys)
        assert not any(key.startswith(old) for key in keys)


def test_a_run_goes_on_from_an_old_checkpoint_as_from_one_of_today(tmp_path, capsys) -> None:
    ends = []
    for name in ("today", "old"):
        first = begun(tmp_path / name)
        measured = {"R_before_ear": 0.3} | ({"of another gate": 1.0} if name == "today" else {})
        first.factors, first.measured = {"rate/judge": 0.5}, dict(measured)
        first.stop.signal = 15  # at the first step at which nothing is lost
        with pytest.raises(StoppedBySignal, match="Stopped and saved"):
            train_autoencoder(first)
        if name == "old":
            make_old(tmp_path / name, first.saved_epoch)
        capsys.readouterr()
        second = begun(tmp_path / name)
        assert second.resume() == first.saved_epoch
        assert (second.controllers, second.factors, second.measured) == (
            first.controllers,
            {"rate/judge": 0.5},
            measured,
        )
        said = " ".join("".join(capsys.readouterr()).split())
        assert ("have other names now and are carried over" in said) == (name == "old")
        train_autoencoder(second)
        ends.append((second.generator.state_dict(), log_of(tmp_path / name)))
    assert ends[0][1] == ends[1][1]
    assert all(torch.equal(value, ends[1][0][key]) for key, value in ends[0][0].items())


def test_a_model_of_old_is_the_same_and_the_log_says_what_was_carried_over(tmp_path, caplog) -> None:
    run = begun(tmp_path)
    train_autoencoder(run)
    today = load_generator(tmp_path).state_dict()
    make_old(tmp_path, run.saved_epoch)
    with caplog.at_level(logging.INFO):
        old = load_generator(tmp_path).state_dict()
    assert "have other names now and are carried over" in caplog.text
    assert today.keys() == old.keys() and all(torch.equal(value, old[key]) for key, value in today.items())


@pytest.mark.parametrize("name", ["shipped", "mixed"])
def test_the_shipped_models_load(name: str) -> None:
    assert load_generator(PROJECT / "checkpoints" / name).sample_rate in (16_000, 44_100)


def test_what_does_not_fit_is_an_error_that_names_it(tmp_path) -> None:
    run = begun(tmp_path)
    train_autoencoder(run)
    path = checkpoint_path(tmp_path, "generator", run.saved_epoch)
    content = torch.load(path, weights_only=True)
    content["average"]["autoencoder.nowhere"] = torch.zeros(1)
    write_whole(path, lambda file: torch.save(content, file))
    with pytest.raises(CheckpointError, match=r"Unexpected key.*autoencoder\.nowhere"):
        load_generator(tmp_path)


def test_a_network_that_grew_keeps_what_it_had() -> None:
    old = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    new = nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 2), nn.Linear(2, 2))
    update = update_checkpoint(old.state_dict() | {"gone": torch.zeros(1)}, new)
    assert (update.carried, update.dropped) == (["1.bias"], ["gone"])
    assert set(update.resized) == {"0.weight", "0.bias", "1.weight"}
    assert set(update.fresh) == {"2.weight", "2.bias"}
    before, fresh = old.state_dict()["0.weight"], new.state_dict()["0.weight"]
    assert torch.equal(update.state["0.weight"][:4], before)
    assert torch.equal(update.state["0.weight"][4:], fresh[4:])
    new.load_state_dict(update.state)


def test_figures_that_need_not_be_there_are_carried_over_where_they_fit() -> None:
    old, new = (nn.ModuleDict({"style": LatentStyle(8, 12, 15.625), "texture": Texture(512)}) for _ in range(2))
    state = old.state_dict() | {"style.onset": torch.arange(25.0), "texture.contrast": torch.ones(6)}
    update = update_checkpoint(state, new)
    new.load_state_dict(update.state)
    assert update.dropped == [] and {"style.onset", "texture.contrast"} <= set(update.carried)
    assert torch.equal(update.state["style.onset"], torch.arange(25.0))
    assert update_checkpoint(state, nn.ModuleDict({"style": LatentStyle(9, 12, 15.625)})).dropped[0] == "style.onset"


def test_names_of_today_stay() -> None:
    state = {"attention.out.weight": torch.zeros(1), "autoencoder.encoder.embed.bias": torch.zeros(1)}
    assert with_present_names(state).keys() == state.keys()
    assert renamed_in_words(state) == ""
    assert rename_key("autoencoder.head.bias") == "autoencoder.decoder.head.bias"
