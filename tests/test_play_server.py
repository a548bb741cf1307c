"""The playing server over real sockets: what it tells, what it plays, how it shares, what it refuses."""

import json
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from piano.composer import Composer, Sampling
from piano.foundation.errors import ConfigError
from piano.generate_music import main as generate
from piano.play import command, radio_socket
from piano.play.models import chosen_folders, style_map
from piano.play.place import Limits
from piano.play.programs import read_wishes
from piano.play.radio import Program, Radio
from piano.play.radio_work import as_pcm
from piano.play.scheduler import Scheduler
from tests.play_address import Played, played, small_model
from tests.tiny_run import SAMPLE_RATE


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    with played(tmp_path_factory.mktemp("played")) as running:
        yield running


def own(running: Played) -> dict[str, str]:
    return {"Origin": running.address}


def socket_of(running: Played, **more: Any) -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{running.port}/api/radio",
        origin=Origin(running.address),
        max_size=None,
        **more,  # type: ignore[arg-type]
    )


class Listener:
    """A page without a browser: keeps what it is sent, by sample."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.sound = np.zeros((0, 1), dtype=np.int16)
        self.told: list[dict[str, Any]] = []

    def start(self, **program: Any) -> dict[str, Any]:
        self.say(type="start", model="first", program=program)
        return self.until("format")

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def take(self) -> dict[str, Any] | None:
        """The next message: JSON as it is; sound is put in its place."""
        message = self.socket.recv(timeout=60.0)
        if isinstance(message, str):
            told = json.loads(message)
            self.told.append(told)
            if told["type"] == "void":
                self.sound = self.sound[: told["from"]]
            return told
        sample = int(struct.unpack("<d", message[:8])[0])
        assert sample == len(self.sound), "a hole, or sound that was there already"
        self.sound = np.concatenate([self.sound, np.frombuffer(message[8:], "<i2").reshape(-1, 1)])
        return None

    def until(self, kind: str) -> dict[str, Any]:
        while (told := self.take()) is None or told["type"] != kind:
            pass
        return told

    def hear(self, seconds: float) -> np.ndarray:
        """Listen until so much has come, saying that it was heard."""
        while len(self.sound) < seconds * SAMPLE_RATE:
            self.take()
            self.say(type="heard", sample=len(self.sound), underruns=0)
        return self.sound


def test_what_there_is_to_know(server):
    with httpx.Client(base_url=server.address, timeout=60.0) as client:
        health = client.get("/api/health").json()
        assert health["status"] == "ok" and health["version"] == "test" and health["listeners"] == 0
        models = client.get("/api/models").json()
        assert [model["name"] for model in models] == ["first", "second"]
        styles = client.get("/api/models/first/styles").json()
        assert styles["has_keys"] is True
        assert len(styles["points"]) == len(styles["tempo"]) == len(styles["energy"]) == 1024
        for axis in zip(*styles["points"], strict=True):
            assert min(axis) == 0.0 and max(axis) == 1.0
        assert all(0.8 * 60 <= tempo <= 3.6 * 60 for tempo in styles["tempo"])
        assert client.get("/api/models").json()[0]["sample_rate"] == SAMPLE_RATE
        assert client.get("/api/models/third/styles").status_code == 404
        missing = client.get("/nothing")
        assert missing.status_code == 404 and missing.json()["error"].endswith("address.")
    assert str(server.place.library.parent) not in json.dumps([health, models, styles])


def test_a_radio_plays_the_piece_of_its_seed_and_no_further_ahead_than_it_may(server):
    with socket_of(server) as socket:
        listener = Listener(socket)
        told = listener.start(seed=4, phase_iterations=2)
        assert (told["sample_rate"], told["channels"], told["model"]) == (SAMPLE_RATE, 1, "first")
        sound = listener.hear(3.0)
        wanted = Radio(server.place.models.get("first"), Program(seed=4, phase_iterations=2))
        alone = torch.cat([wanted.produce().waveform for _ in range(4)], dim=1)
        samples = min(len(sound), alone.shape[1])
        assert samples > 2 * SAMPLE_RATE
        assert np.array_equal(sound[:samples], as_pcm(alone)[:samples])
        assert np.abs(sound).max() > 300
        work = next(iter(server.place.radios.values()))
        deadline = time.monotonic() + 30
        while work.urgency() is not None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert work.urgency() is None
        assert work.ahead_seconds < server.place.limits.ahead_seconds + 4.5
    deadline = time.monotonic() + 10
    while server.place.radios and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not server.place.radios  # who goes is composed for no more


def test_a_control_that_moves_is_heard_from_the_sample_it_was_moved_at(server):
    with socket_of(server) as socket:
        listener = Listener(socket)
        listener.start(seed=4)
        before = listener.hear(4.0).copy()
        at = len(before) - SAMPLE_RATE
        listener.say(type="move", id=7, at=at, program={"near": 9, "surprise": 0})
        void = listener.until("void")
        assert void["id"] == 7 and void["from"] >= at
        after = listener.hear(6.0)
        assert np.array_equal(after[:at], before[:at])
        assert not np.array_equal(
            after[void["from"] + SAMPLE_RATE // 4 :][:2000], before[void["from"] + SAMPLE_RATE // 4 :][:2000]
        )
        listener.say(type="move", id=8, at=0, program={"piece": 1})
        assert listener.until("void")["from"] >= len(after)  # what was heard stays


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("not json", "JSON"),
        ("[1, 2]", "object"),
        ('{"type": "dance"}', "start, move, heard or stop"),
        ('{"type": "move", "program": {}}', "no radio plays"),
        ('{"type": "start", "model": "../../etc"}', "no model"),
        ('{"type": "start", "model": 5}', "must be a name"),
        ('{"type": "start", "program": {"seed": -1}}', "seed"),
        ('{"type": "start", "program": {"surprise": 1e999}}', "surprise"),
        ('{"type": "start", "program": {"surprise": NaN}}', "surprise"),
        ('{"type": "start", "program": {"steps": 100000}}', "steps"),
        ('{"type": "start", "program": {"near": 1024}}', "near"),
        ('{"type": "start", "program": {"prompt": "../secret"}}', "prompt"),
        ('{"type": "start", "program": {"shell": "ls"}}', "shell"),
        ('{"type": "start", "program": [1]}', "program"),
        ("[" * 3000, "JSON"),
        ("x" * 5000, "characters"),
        (b"\x00\x01", "binary"),
    ],
)
def test_a_message_that_is_none_gets_a_sentence_and_the_next_one_is_heard(server, message, sentence):
    with socket_of(server) as socket:
        socket.send(message)
        listener = Listener(socket)
        assert sentence in listener.until("error")["reason"]
        listener.start(seed=1)
        listener.hear(0.5)


def test_numbers_out_of_range_while_it_plays_change_nothing(server):
    with socket_of(server) as socket:
        listener = Listener(socket)
        listener.start(seed=1)
        listener.hear(0.5)
        for sample in (-5, 1e300, "soon", None, True):
            listener.say(type="heard", sample=sample)
            assert "sample" in listener.until("error")["reason"]
        listener.say(type="heard", sample=2**50)  # further than anything was made
        listener.hear(3.0)
        work = next(iter(server.place.radios.values()))
        assert work.heard <= len(listener.sound) + 20 * SAMPLE_RATE


def test_a_prompt_that_is_not_there_is_told_and_the_radio_plays_on(server):
    with socket_of(server) as socket:
        listener = Listener(socket)
        listener.start(seed=1)
        listener.say(type="move", id=1, at=0, program={"between": ["nothing", "here"]})
        assert "not here" in listener.until("error")["reason"]
        listener.hear(2.0)


def test_listeners_share_the_processor_by_who_needs_it_most(server):
    with socket_of(server) as one, socket_of(server) as two:
        listeners = [Listener(one), Listener(two)]
        for seed, listener in enumerate(listeners):
            listener.start(seed=seed)
        heard = [listener.hear(4.0) for listener in listeners]
        assert not np.array_equal(heard[0][:8000], heard[1][:8000])
        assert httpx.get(f"{server.address}/api/health").json()["listeners"] == 2


def test_one_listener_too_many_is_told_so_and_the_others_play_on(tmp_path):
    with (
        played(tmp_path, speed=2.6, smoothing=0.0) as small,  # two at a load of 0.8
        socket_of(small) as one,
        socket_of(small) as two,
        socket_of(small) as three,
    ):
        first, second, third = Listener(one), Listener(two), Listener(three)
        first.start(seed=1)
        second.start(seed=2)
        third.say(type="start", model="first", program={})
        refused = third.until("refused")
        assert "composes for 2 at a time" in refused["reason"] and "Try again" in refused["reason"]
        with pytest.raises(ConnectionClosed):
            three.recv(timeout=10.0)
        first.hear(2.0)
        second.hear(2.0)


def test_nobody_is_let_in_while_those_who_listen_have_too_little_ahead(tmp_path, monkeypatch):
    monkeypatch.setattr(radio_socket, "JOIN_SECONDS", 1.0)
    with played(tmp_path, speed=20.0, smoothing=0.0) as place, socket_of(place) as one, socket_of(place) as two:
        first, second = Listener(one), Listener(two)
        first.start(seed=1)
        with monkeypatch.context() as patch:
            patch.setattr(radio_socket, "ENOUGH_SECONDS", 60.0)  # nobody is ever so far ahead
            second.say(type="start", model="first", program={})
            assert "with one more all would stutter" in second.until("refused")["reason"]
        with socket_of(place) as three:
            third = Listener(three)
            third.start(seed=3)
            third.hear(1.0)
        first.hear(2.0)


def test_the_wav_stream_is_what_generate_writes_to_a_pipe(server, tmp_path):
    server.place.models.use_compiled_loops()  # as a server does when its first sound is on its way
    asked = {"seconds": 3.0, "seed": 6, "steps": 2, "phase_iterations": 3}
    stream = httpx.get(f"{server.address}/api/stream.wav", params=asked, timeout=60.0)
    assert stream.status_code == 200 and stream.headers["content-type"] == "audio/wav"
    words = ["--checkpoints", str(server.place.models.folders["first"]), "--output", str(tmp_path), "--count", "1"]
    words += ["--threads", str(torch.get_num_threads())]
    assert (
        generate(
            [*words, *(str(word) for pair in asked.items() for word in ("--" + pair[0].replace("_", "-"), pair[1]))]
        )
        == 0
    )
    file = (tmp_path / "seed6_sample_0000.wav").read_bytes()
    assert len(stream.content) == 44 + 2 * 3 * SAMPLE_RATE
    data = file.index(b"data") + 8
    assert stream.content[44:] == file[data : data + 2 * 3 * SAMPLE_RATE]


def test_a_stream_without_end_is_left_when_its_reader_goes(server):
    with httpx.stream("GET", f"{server.address}/api/stream.wav?seconds=inf&steps=1", timeout=60.0) as stream:
        taken = b""
        for part in stream.iter_bytes():
            taken += part
            if len(taken) > 4 * SAMPLE_RATE:
                break
    deadline = time.monotonic() + 20
    while server.place.streams and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.place.streams == 0


@pytest.mark.parametrize(
    "query",
    [
        "seconds=0",
        "seconds=-1",
        "seconds=nan",
        "seconds=1e9",
        "seed=x",
        "sed=1",
        "steps=0",
        "model=none",
        "seed=" + "9" * 400,
    ],
)
def test_an_address_that_asks_for_nonsense_gets_a_sentence(server, query):
    answer = httpx.get(f"{server.address}/api/stream.wav?{query}")
    assert answer.status_code in (400, 404)
    assert len(answer.json()["error"]) > 10


def test_too_many_streams_are_refused(tmp_path):
    with (
        played(tmp_path, limits=Limits(streams=1)) as small,
        httpx.stream("GET", f"{small.address}/api/stream.wav?seconds=inf", timeout=60.0) as stream,
    ):
        parts = stream.iter_bytes()  # held: an iterator that is dropped hangs up
        next(parts)
        assert "no more can be" in httpx.get(f"{small.address}/api/stream.wav?seconds=1").json()["error"]


# --- the scheduler -------------------------------------------------------------------------------------------------


class Counted:
    """Work that counts its steps."""

    def __init__(self, needs: list[float | None], order: list[str], name: str, error: Exception | None = None) -> None:
        self.needs, self.order, self.name, self.error = needs, order, name, error
        self.failed: Exception | None = None

    def urgency(self) -> float | None:
        return self.needs[0] if self.needs else None

    def step(self) -> float | None:
        self.order.append(self.name)
        if self.error:
            raise self.error
        self.needs.pop(0)
        return 0.1 if self.needs else None

    def fail(self, error: Exception) -> None:
        self.failed = error


def run_until(scheduler: Scheduler, condition: Any) -> None:
    scheduler.start()
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    scheduler.close()
    assert condition()


def test_who_needs_it_soonest_comes_first_and_who_needs_nothing_waits():
    order: list[str] = []
    scheduler = Scheduler()
    scheduler.add(Counted([5.0, 5.0], order, "late"))
    scheduler.add(Counted([1.0, 2.0, 9.0], order, "soon"))
    scheduler.add(Counted([None], order, "never"))
    run_until(scheduler, lambda: len(order) == 5)
    assert order == ["soon", "soon", "late", "late", "soon"]
    assert scheduler.speed is not None and scheduler.speed > 0


def test_work_that_fails_is_told_and_does_not_stop_the_others(caplog):
    order: list[str] = []
    scheduler, bad = Scheduler(), Counted([0.0], order, "bad", ConfigError("no"))
    scheduler.add(bad)
    scheduler.add(Counted([1.0, 1.0], order, "good"))
    run_until(scheduler, lambda: order.count("good") == 2)
    assert isinstance(bad.failed, ConfigError) and order == ["bad", "good", "good"]
    assert not caplog.records  # a sentence for the listener, no fault of the program


def test_capacity_is_the_measured_speed_with_something_to_spare():
    assert Scheduler().capacity == 1
    assert Scheduler(speed=0.5).capacity == 1  # one may always try
    assert Scheduler(speed=10.0).capacity == 8
    assert Scheduler(speed=10.0).fits(8) and not Scheduler(speed=10.0).fits(9)


# --- the command ---------------------------------------------------------------------------------------------------


def test_models_have_names_and_no_paths(tmp_path):
    small_model(tmp_path / "evening")
    folders = chosen_folders([tmp_path / "evening", Path("mixed")], None)
    assert list(folders)[:2] == ["evening", "mixed"] and "shipped" in folders
    assert next(iter(chosen_folders([], None))) == "shipped"
    assert next(iter(chosen_folders([], tmp_path / "evening"))) == "evening"


def test_a_folder_without_a_model_is_told_before_anything_opens(tmp_path, capsys):
    assert command.main(["--no-browser", str(tmp_path)]) == 2
    assert "no generator checkpoint" in capsys.readouterr().err


def test_a_port_in_use_is_told_or_passed_over(tmp_path, capsys):
    taken = command.open_port("127.0.0.1", None)
    try:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port {port} cannot be used"):
            command.open_port("127.0.0.1", port)
        other = command.open_port("127.0.0.1", None)
        assert other.getsockname()[1] > port
        other.close()
    finally:
        taken.close()
    with pytest.raises(ConfigError, match="--host"):
        command.open_port("no.such.host.invalid", None)


def test_only_other_machines_are_asked_for_a_token():
    assert all(command.is_loopback(host) for host in ("127.0.0.1", "localhost", "::1"))
    assert not any(command.is_loopback(host) for host in ("0.0.0.0", "192.168.0.4", "::"))
    assert "192.168.0.4" in command.host_names("192.168.0.4")
    assert command.shown_host("::1") == "[::1]"


def test_a_missing_extra_is_told_with_what_to_install(monkeypatch, capsys):
    import builtins

    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "uvicorn":
            raise ModuleNotFoundError(name=name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert command.main(["--no-browser"]) == 2
    assert '".[play]"' in capsys.readouterr().err


def test_wishes_keep_what_is_not_said():
    first = read_wishes({"seed": 3, "surprise": 2})
    second = read_wishes({"piece": 4, "between": ["abcdef", "ghijkl"]}, first)
    assert (second.seed, second.surprise, second.piece, second.between) == (3, 2.0, 4, ("abcdef", "ghijkl"))


def test_styles_of_a_model_without_a_second_axis_have_points(tmp_path):
    from piano.utilities import load_generator

    generator = load_generator(small_model(tmp_path, style_dim=1))
    assert len(style_map(generator).points) == 1024


def test_stopping_the_server_ends_its_threads(tmp_path):
    before = {thread.name for thread in threading.enumerate()}
    with played(tmp_path) as running, socket_of(running) as socket:
        Listener(socket).start(seed=1)
    names = {thread.name for thread in threading.enumerate()} - before
    assert "composing" not in names
    composer = Composer(running.place.models.get("first").generator, Sampling())
    assert composer.steps == 2


def test_the_files_of_the_page_are_asked_for_each_time(server):
    for name in ("main.js", "base.css"):
        first = httpx.get(f"{server.address}/page/{name}")
        assert first.status_code == 200 and first.headers["cache-control"] == "no-cache"
        again = httpx.get(f"{server.address}/page/{name}", headers={"If-None-Match": first.headers["etag"]})
        assert again.status_code == 304 and again.headers["cache-control"] == "no-cache" and not again.content


def test_a_radio_that_fails_says_why_is_no_listener_any_more_and_hangs_up(server):
    with socket_of(server) as socket:
        listener = Listener(socket)
        told = listener.start(prompt="nosuchsound")
        assert "not here" in listener.until("refused")["reason"]
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=10.0)
        assert told["radio"] not in server.place.radios
