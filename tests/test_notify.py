"""A message when a run ends or dies: sent to a real server on this machine."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from piano.config_reader import dump_config
from piano.foundation.errors import ConfigError, TrainingError
from piano.foundation.notify import Messenger
from piano.piano_main import main, reported
from piano.piano_pretrain import train_autoencoder
from tests.tiny_run import On, start_run, tiny_config

pytest.importorskip("apprise")


@pytest.fixture
def inbox() -> Iterator[tuple[str, list[dict]]]:
    """An address, and the messages that arrived there."""
    messages: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}/run", messages
    server.shutdown()
    server.server_close()


def test_a_run_that_ends_says_how_far_it_came(inbox, tmp_path):
    address, messages = inbox
    run = start_run(tiny_config(tmp_path, pretrain_epochs_g=2))
    with reported(run, Messenger([address])):
        train_autoencoder(run)
    (message,) = messages
    assert message["title"] == "MusiGAN: training ended"
    assert "Trained 1 epoch in" in message["message"]
    assert str(tmp_path) in message["message"]
    assert (tmp_path / "loss.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("kind", ["not a number", "interrupt"])
def test_a_run_that_dies_says_why_and_dies_all_the_same(inbox, tmp_path, kind):
    address, messages = inbox
    run = start_run(tiny_config(tmp_path))

    def fall(saved) -> None:
        if kind == "interrupt":
            raise KeyboardInterrupt
        with torch.no_grad():
            saved.generator.autoencoder.decoder.head.weight.fill_(float("nan"))

    run.watch(On(after_save=fall))
    with (
        pytest.raises(KeyboardInterrupt if kind == "interrupt" else TrainingError),
        reported(run, Messenger([address])),
    ):
        train_autoencoder(run)
    (message,) = messages
    assert message["title"] == f"MusiGAN: training {'stopped' if kind == 'interrupt' else 'died'}"
    expected = "KeyboardInterrupt" if kind == "interrupt" else "reconstruction is nan in stage autoencoder"
    assert expected in message["message"]


def test_a_message_that_cannot_be_delivered_changes_nothing(tmp_path, caplog):
    run = start_run(tiny_config(tmp_path, pretrain_epochs_g=2))
    with reported(run, Messenger(["json://127.0.0.1:9/nobody-listens"])):
        train_autoencoder(run)
    assert run.finished_stages == ["autoencoder"]
    assert caplog.messages == ["training.notify: the message that the run is over could not be delivered."]


def test_a_missing_apprise_or_an_unknown_address_is_said_before_training(monkeypatch, tmp_path, capsys):
    secret = "nosuchkind://name:password@host"
    with pytest.raises(ConfigError, match=r"does not know address 2 \(nosuchkind://...\)") as caught:
        Messenger(["json://localhost", secret])
    assert "password" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert main(["--set", "training.notify=json://localhost", "--checkpoints", str(tmp_path / "new")]) == 2
    assert "Error: training.notify needs Apprise" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_without_an_address_nothing_is_needed_and_addresses_are_never_written_down(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert Messenger([]).send("title", "body")
    config = tiny_config(tmp_path, training__notify="mailto://name:password@host")
    assert config.training.notify == ["mailto://name:password@host"]
    assert "password" not in dump_config(config)
