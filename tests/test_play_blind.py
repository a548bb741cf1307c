"""Blind listening: clips that differ in nothing but their music, sides that cannot be guessed, votes that are kept."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import torch
from scipy.stats import binomtest

from piano.evaluation.lufs import integrated_lufs
from piano.foundation.audio_writer import write_audio
from piano.foundation.errors import AudioError, ConfigError
from piano.play.blind import LEAST_HEARD, NAME, REAL, Blind, Vote, tally, wilson
from piano.play.blind_clips import CHANNELS, LUFS, RATE, SECONDS, as_wavs, real_clip
from piano.play.refusals import NotHere
from tests.play_address import Played, played
from tests.tiny_run import SAMPLE_RATE, write_dataset


def noise(rate: int, channels: int, *, level: float, seconds: float = SECONDS, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (level * random.standard_normal((channels, round(seconds * rate)))).astype(np.float32)


@pytest.fixture
def blind(tmp_path) -> Blind:
    (tmp_path / "sounds").mkdir()
    return Blind(tmp_path / "takes", tmp_path / "sounds")


def short_pair(blind: Blind, session: str) -> tuple[str, int]:
    """A pair of the least sounds there are, and its number."""
    found = blind.session(session)
    number = blind.next_number(found)
    clip = noise(800, 1, level=0.1, seconds=0.01)
    return blind.add_pair(found, number, (clip, clip), (RATE, RATE))[0], number


def vote(pair: str, choice: Any, left: float = 4.0, right: float = 4.0) -> Vote:
    return Vote(pair=pair, choice=choice, heard_left=left, heard_right=right)


@pytest.mark.parametrize(("wins", "count"), [(0, 1), (1, 1), (3, 10), (50, 100), (7, 7), (400, 1000)])
def test_the_interval_is_wilsons(wins, count):
    wanted = binomtest(wins, count).proportion_ci(0.95, method="wilson")
    assert wilson(wins, count) == pytest.approx((wanted.low, wanted.high), abs=1e-6)


def test_a_tally_says_what_can_be_told():
    assert tally("x", "y", 0, 0, 3).sentence == "Cannot tell yet: no vote has chosen between x and y."
    open_ = tally("x", "y", 6, 4, 2)
    assert open_.sentence == "Cannot tell yet: x was preferred to y in 6 of 10 votes (60%; 95% interval 31% to 83%)."
    assert open_.share == 0.6 and (open_.wins_a, open_.wins_b, open_.same) == (6, 4, 2)
    for a, b in ((10, 1), (1, 10)):
        decided = tally("x", "y", a, b, 5)
        better = "x sounds better than y" if a > b else "y sounds better than x"
        assert decided.sentence.startswith(f"{better}: it was preferred in 10 of 11 votes (91%; 95% interval 62% to")
        assert not decided.low <= 0.5 <= decided.high


@pytest.mark.parametrize("levels", [(0.3, 0.001), (0.02, 0.02), (0.9, 0.5)])
def test_clips_are_as_long_as_loud_and_of_one_format(levels):
    stereo, mono = noise(RATE, 2, level=levels[0]), noise(16_000, 1, level=levels[1], seconds=5.0, seed=1)
    mono[0, 1000] = 30 * levels[1]  # a peak that leaves it no room
    files = as_wavs([stereo, mono], [RATE, 16_000])
    assert len(files[0]) == len(files[1]) and files[0][:44] == files[1][:44]
    sounds = [soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True) for data in files]
    loudness = [integrated_lufs(sound.T, rate) for sound, rate in sounds]
    assert loudness[0] == pytest.approx(loudness[1], abs=0.1) and loudness[0] <= LUFS + 0.1
    for sound, rate in sounds:
        assert sound.shape == (round(SECONDS * RATE), CHANNELS) and rate == RATE
        assert np.abs(sound).max() < 0.98


def test_a_silent_clip_stays_silent_and_is_no_error():
    files = as_wavs([np.zeros((1, 8000), np.float32), noise(8000, 1, level=0.1)], [8000, 8000])
    first, second = (soundfile.read(io.BytesIO(data))[0] for data in files)
    assert not first.any() and np.abs(second).max() > 0.01


def test_sides_are_drawn_by_the_key_half_and_half(blind):
    sides = []
    for _ in range(4):
        session = blind.session(blind.open("first", "second"))
        drawn = [session.left_is_a(number) for number in range(100)]
        assert drawn == [blind.session(session.id).left_is_a(number) for number in range(100)]
        sides.append(drawn)
    assert 140 < sum(map(sum, sides)) < 260  # 200 expected; six standard deviations
    assert len({tuple(drawn) for drawn in sides}) == 4  # the names do not decide


def test_a_vote_counts_once_after_three_seconds_of_each(blind):
    session = blind.open("first", "second")
    pair, number = short_pair(blind, session)
    for left, right in ((2.9, 9.0), (9.0, 2.9), (0.0, 0.0)):
        with pytest.raises(ConfigError, match="at least 3 seconds of both"):
            blind.vote(session, vote(pair, "left", left, right))
    other = blind.open("first", "third")
    with pytest.raises(NotHere):
        blind.vote(other, vote(pair, "left"))
    left_is_a = blind.session(session).left_is_a(number)
    assert blind.vote(session, vote(pair, "left", LEAST_HEARD, LEAST_HEARD)) == (
        ("first", "second") if left_is_a else ("second", "first")
    )
    with pytest.raises(NotHere, match="had its vote"):
        blind.vote(session, vote(pair, "left"))
    (row,) = blind.tallies()
    assert (row.wins_a, row.wins_b) == ((1, 0) if left_is_a else (0, 1))
    assert not list(blind._sounds.iterdir())


def test_votes_and_sessions_outlive_the_server_and_a_line_that_was_cut_off(blind, tmp_path):
    session = blind.open("first", "second")
    for choice in ("left", "right", "same"):
        blind.vote(session, vote(short_pair(blind, session)[0], choice))
    path = blind.folder / NAME
    before = path.read_bytes()
    path.write_bytes(before + b'{"event": "vote", "a": "first", "b": "sec')
    again = Blind(blind.folder, tmp_path / "sounds")
    assert again.tallies() == blind.tallies() and again.tallies()[0].same == 1
    pair, number = short_pair(again, session)
    assert number == 3  # no pair comes twice
    again.vote(session, vote(pair, "same"))
    assert again.tallies()[0].same == 2
    assert path.read_bytes().startswith(before)
    swapped = again.open("second", "first")
    again.vote(swapped, vote(short_pair(again, swapped)[0], "same"))
    assert [(row.a, row.b, row.same) for row in again.tallies()] == [("first", "second", 3)]
    path.write_bytes(
        b'junk\n[1]\n{"event": "vote"}\n{"event": "vote", "a": 1, "b": [], "chosen": "a"}\n' + b"[" * 99_999
    )
    assert [row.wins_a for row in again.tallies()] == [1]


def test_the_same_on_both_sides_is_refused_but_not_two_epochs(blind):
    with pytest.raises(ConfigError, match="two different things"):
        blind.open("first", "first", (3, 3))
    session = blind.session(blind.open("first", "first", (3, 4)))
    assert session.sides == ("first (epoch 3)", "first (epoch 4)")
    with pytest.raises(NotHere):
        blind.session("nobody")


def test_only_the_newest_pairs_are_kept(blind, monkeypatch):
    monkeypatch.setattr("piano.play.blind.MOST_PAIRS", 2)
    session = blind.open("first", "second")
    pairs = [short_pair(blind, session)[0] for _ in range(4)]
    assert len(list(blind._sounds.iterdir())) == 4
    with pytest.raises(NotHere):
        blind.vote(session, vote(pairs[1], "same"))
    blind.vote(session, vote(pairs[2], "same"))


def test_real_music_comes_from_files_or_a_data_set(tmp_path):
    music = tmp_path / "music"
    write_audio(music / "deep" / "long.flac", noise(RATE, 2, level=0.1, seconds=12.0), RATE)
    write_audio(music / "short.wav", noise(8000, 1, level=0.1, seconds=1.0), 8000)
    write_audio(music / "silent.flac", np.zeros((1, 9 * 8000), np.float32), 8000)
    (music / "broken.mp3").write_bytes(b"no sound")
    for seed in range(3):
        clip = real_clip(music, torch.Generator().manual_seed(seed), sample_rate=16_000, channels=1)
        assert clip.shape == (1, 16_000 * SECONDS) and 0.01 < clip.std() < 0.2
    dataset = write_dataset(tmp_path / "dataset")
    with pytest.raises(AudioError, match="no clip of 8 seconds"):  # its pairs are four seconds long
        real_clip(dataset, torch.Generator(), sample_rate=SAMPLE_RATE, channels=1)
    for folder in (tmp_path / "nothing", tmp_path):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(AudioError):
            real_clip(
                folder if folder.name == "nothing" else tmp_path / "empty",
                torch.Generator(),
                sample_rate=8000,
                channels=1,
            )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("played")
    write_audio(folder / "real" / "song.flac", noise(RATE, 2, level=0.1, seconds=9.0), RATE)
    with played(folder, real=folder / "real") as running:
        yield running


@pytest.fixture
def client(server: Played) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.address, headers={"Origin": server.address}, timeout=120.0) as asking:
        yield asking


def test_two_models_are_compared_over_http(server, client):
    session = client.post("/api/blind", json={"a": {"model": "first"}, "b": {"model": "second"}}).json()["id"]
    pair = client.get(f"/api/blind/{session}/pair").json()
    assert set(pair) == {"pair", "left", "right"}
    assert not any(name in json.dumps(pair) for name in ("first", "second"))
    left, right = (client.get(pair[side]) for side in ("left", "right"))
    for name in ("content-length", "content-type", "last-modified", "etag", "cache-control"):
        assert left.headers[name] == right.headers[name]
    assert left.content != right.content and left.content[:44] == right.content[:44]
    part = client.get(pair["left"], headers={"Range": "bytes=44-143"})
    assert part.status_code == 206 and part.content == left.content[44:144]
    address = f"/api/blind/{session}/votes"
    early = client.post(address, json={"pair": pair["pair"], "choice": "left", "heard_left": 1, "heard_right": 9})
    assert early.status_code == 422 and early.json()["error"] == "hear at least 3 seconds of both first."
    strange = {"pair": pair["pair"], "choice": "both", "heard_left": 4, "heard_right": 4}
    assert client.post(address, json=strange).status_code == 400
    told = client.post(address, json=strange | {"choice": "left"})
    assert sorted(told.json().values()) == ["first (epoch 3)", "second (epoch 3)"]
    (row,) = client.get("/api/blind").json()
    assert row["wins_a"] + row["wins_b"] == 1 and row["sentence"].startswith("Cannot tell yet: first (epoch 3) was")
    assert (row["wins_a"] == 1) == (told.json()["left"].startswith("first"))
    again = client.post(address, json=strange | {"choice": "left"})
    assert again.status_code == 422 and "had its vote" in again.json()["error"]
    assert client.get(pair["left"]).status_code == 404
    assert str(server.place.library.parent) not in client.get("/api/blind").text


def test_a_model_against_real_music_in_the_models_form(server, client):
    session = client.post("/api/blind", json={"a": {"real": True}, "b": {"model": "first"}}).json()["id"]
    pair = client.get(f"/api/blind/{session}/pair").json()
    sounds = []
    for side in ("left", "right"):
        sound, rate = soundfile.read(io.BytesIO(client.get(pair[side]).content), always_2d=True)
        spectrum = np.abs(np.fft.rfft(sound[:, 0]))
        assert np.array_equal(sound[:, 0], sound[:, 1])  # the model is mono: so is what it is held against
        above = spectrum[round(4200 / rate * len(sound)) :]
        assert np.square(above).sum() < 1e-3 * np.square(spectrum).sum()  # and has its 8000 Hz
        sounds.append(sound)
    assert len(sounds[0]) == len(sounds[1])
    heard = {"pair": pair["pair"], "choice": "same", "heard_left": 3.5, "heard_right": 3.5}
    told = client.post(f"/api/blind/{session}/votes", json=heard).json()
    assert sorted(told.values()) == ["first (epoch 3)", REAL]


def test_comparisons_that_cannot_be_are_refused_in_a_sentence(server, client, monkeypatch):
    for a, b, says in (
        ({"model": "first"}, {"model": "first"}, "two different things"),
        ({"real": True}, {"real": True}, "two different things"),
        ({"model": "first"}, {"model": "/etc"}, "no such model"),
        ({"model": "first", "real": True}, {"model": "second"}, "a model or real music"),
        ({}, {"model": "second"}, "a model or real music"),
    ):
        answer = client.post("/api/blind", json={"a": a, "b": b})
        assert answer.status_code == 400 and says in answer.json()["error"], answer.text
    assert client.get("/api/blind/nobody/pair").status_code == 404
    assert client.get("/api/blind/sounds/..%2f..%2fblind.jsonl").status_code == 404
    monkeypatch.setattr(server.place, "real", None)
    answer = client.post("/api/blind", json={"a": {"model": "first"}, "b": {"real": True}})
    assert answer.status_code == 400 and "musigan play" not in answer.text and "--real FOLDER" in answer.text
    monkeypatch.setattr(server.place, "real", Path("/nowhere/private"))
    session = client.post("/api/blind", json={"a": {"model": "first"}, "b": {"real": True}}).json()["id"]
    answer = client.get(f"/api/blind/{session}/pair")
    assert answer.status_code == 422 and "private" not in answer.text and "real music" in answer.json()["error"]
