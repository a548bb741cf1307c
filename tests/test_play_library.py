"""The library of the player: sounds that are brought, orders, takes and their receipts, over real sockets too."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from data_prep.worker_pool import run_tasks
from piano.foundation import compiled
from piano.foundation.audio_writer import write_audio
from piano.foundation.errors import AudioError, ConfigError
from piano.foundation.receipt import read_receipt
from piano.latent_style import AskedTempo
from piano.play import uploads as upload_module
from piano.play.decoding import DecodeTask, decode_upload, outcome
from piano.play.library import PEAKS, SUFFIX, TRASH, Library, keep_beside, measured
from piano.play.orders import Order
from piano.play.place import Limits
from piano.play.programs import Wishes, read_wishes
from piano.play.radio_take import EXACT, WITH_SOUNDS, keep_heard
from piano.play.radio_work import Moved, RadioWork, first_needed
from piano.play.refusals import NotHere, renamed
from piano.play.taking import Sounds
from piano.play.uploads import Uploads, shown_name
from piano.reproduce import main as reproduce
from tests import crashing
from tests.hostile_files import FILES, MUSIC
from tests.play_address import Played, played
from tests.tiny_run import SAMPLE_RATE

BROKEN = Path(__file__).resolve().parent.parent.parent / "shared" / "music-broken"
LIMITS = Limits(upload_bytes=2 << 20, upload_seconds=20.0, uploads=4, jobs=3, kept_seconds=6.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    compiled.kernels()  # the player waits for no compiler, and what is made again does: both shall have the same loops
    with played(tmp_path_factory.mktemp("played"), limits=LIMITS) as running:
        yield running


@pytest.fixture
def client(server: Played) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.address, headers={"Origin": server.address}, timeout=60.0) as asking:
        yield asking
        for sound in asking.get("/api/uploads").json():
            asking.delete(f"/api/uploads/{sound['id']}")


def bring(client: httpx.Client, data: bytes, name: str) -> httpx.Response:
    return client.post("/api/uploads", content=data, headers={"X-File-Name": name})


def until(found: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def made(client: httpx.Client, **order: Any) -> list[dict[str, Any]]:
    """The takes of an order, when it is done."""
    before = {take["id"] for take in client.get("/api/takes").json()}
    answer = client.post("/api/makes", json=order)
    assert answer.status_code == 202, answer.text
    until(lambda: answer.json()["id"] not in {make["id"] for make in client.get("/api/makes").json()})
    return [take for take in client.get("/api/takes").json() if take["id"] not in before]


# --- sounds that are brought


def test_a_sound_that_is_brought_is_kept_heard_and_forgotten(server, client):
    answer = bring(client, server.song.read_bytes(), "..%2F..%2Fetc%2Fl%27%C3%A9t%C3%A9.wav")
    assert answer.status_code == 201
    upload = answer.json()
    assert upload["name"] == "l'été.wav" and upload["seconds"] == pytest.approx(6.0, abs=0.01)
    assert client.get("/api/uploads").json() == [upload]
    part = client.get(f"/api/uploads/{upload['id']}/sound", headers={"Range": "bytes=0-3"})
    assert part.status_code == 206 and part.content == b"fLaC"
    assert all(path.parent == server.place.library / "uploads" for path in server.place.library.rglob("*.flac"))
    assert client.delete(f"/api/uploads/{upload['id']}").status_code == 204
    assert client.get("/api/uploads").json() == []
    assert client.delete(f"/api/uploads/{upload['id']}").status_code == 404
    assert not list((server.place.library / "uploads").iterdir())


def test_limits_of_what_may_be_brought(server, client, tmp_path):
    declared = client.post("/api/uploads", content=bytes(3 << 20), headers={"X-File-Name": "much.wav"})
    streamed = client.post("/api/uploads", content=iter([bytes(1 << 20)] * 3), headers={"X-File-Name": "much.wav"})
    for answer in (declared, streamed):
        assert answer.status_code == 413 and answer.json()["error"].startswith("At most 2 MB can be taken.")
    write_audio(tmp_path / "long.flac", np.full((1, 21 * 8000), 0.1, np.float32), 8000)
    for data, name, says in (
        ((tmp_path / "long.flac").read_bytes(), "long.flac", "long.flac: it is longer than"),
        (b"", "nothing.mp3", "nothing.mp3 is empty."),
    ):
        answer = bring(client, data, name)
        assert answer.status_code == 422 and answer.json()["error"].startswith(says)
    library = Uploads(tmp_path / "few", LIMITS._replace(uploads=1))
    library.claim()
    with pytest.raises(ConfigError, match="1 sounds are here already"):
        library.claim()
    library.release()
    library.claim()
    assert client.get("/api/health").json()["status"] == "ok"


def test_what_a_killed_server_left_of_a_sound_is_cleared(tmp_path):
    for name in (".coming-12", ".abc.flac", "own.flac", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert Uploads(tmp_path, LIMITS).all() == []
    assert {path.name for path in tmp_path.iterdir()} == {"own.flac", "notes.txt"}


def hostile_sounds(folder: Path) -> list[Path]:
    """Every hostile sound of the project, and those that lie beside it where they do."""
    made = []
    for index, (opened, _, content) in enumerate(FILES):
        if opened is MUSIC:
            made.append(folder / f"hostile_{index}.mp3")
            made[-1].write_bytes(content())
    return made + ([path for path in sorted(BROKEN.iterdir()) if path.is_file()] if BROKEN.is_dir() else [])


def test_every_hostile_sound_gets_a_sentence_or_is_heard(tmp_path):
    paths = hostile_sounds(tmp_path)
    assert len(paths) >= 3
    tasks = [DecodeTask(path, tmp_path / f"{index}.flac", 60.0) for index, path in enumerate(paths)]
    told, heard = {}, {}
    for event in run_tasks(decode_upload, tasks, workers=2, stall_seconds=20.0):
        if event.is_finished:
            name = paths[event.index].name
            try:
                heard[name], _ = outcome(event, tasks[event.index], name)
            except AudioError as error:
                told[name] = str(error)
    assert len(told) + len(heard) == len(paths)
    for name, sentence in told.items():
        assert name in sentence and str(tmp_path) not in sentence and str(BROKEN) not in sentence
        assert "Traceback" not in sentence and sentence[-1] in ".)" and "\x1b" not in sentence
    for seconds in heard.values():
        assert 0.0 < seconds <= 60.0
    if BROKEN.is_dir():
        assert {"empty.mp3", "text.mp3", "picture.mp3", "random.mp3", "no-samples.wav"} <= told.keys()
        assert {"good.mp3", "good.flac", "no-suffix", "garbage-middle.mp3"} <= heard.keys()


@pytest.mark.parametrize(
    ("content", "says"), [(b"<html>no sound</html>" * 200, "page.mp3"), (b"RIFF\xff\xff\xff\xffWAVEfmt ", "page.mp3")]
)
def test_a_broken_sound_is_a_sentence_over_http_and_the_server_lives(server, client, content, says):
    answer = bring(client, content, "page.mp3")
    assert answer.status_code == 422
    assert says in answer.json()["error"] and str(server.place.library) not in answer.json()["error"]
    assert client.get("/api/uploads").json() == []
    assert client.get("/api/health").json()["status"] == "ok"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_decoder_that_crashes_or_hangs_takes_nothing_with_it(tmp_path, monkeypatch):
    uploads = Uploads(tmp_path / "uploads", LIMITS)
    for function, stall, says in ((crashing.crash, 60.0, "the decoder crashed"), (crashing.hang, 0.1, "no progress")):
        monkeypatch.setattr(upload_module, "decode_upload", function)
        monkeypatch.setattr(upload_module, "STALL_SECONDS", stall)
        temporary = uploads.temporary()
        temporary.write_bytes(b"evil")
        with pytest.raises(AudioError, match=f"evil.mp3: {says}"):
            uploads.take_in(temporary, "evil.mp3")
        assert not list(uploads.folder.iterdir())


def test_names_of_strangers_are_shown_and_never_followed():
    assert shown_name("..%2F..%2Fetc%2Fpasswd") == "passwd"
    assert shown_name("C:%5Cmusic%5Csong.mp3") == "song.mp3"
    assert shown_name("") == shown_name("%2F") == "sound"
    assert "\x1b" not in shown_name("%1B%5D0;owned%07") and len(shown_name("x" * 999)) == 80
    assert renamed("cannot read /a/b/c.flac: gone, see /a/b/d", Path("/a/b/c.flac"), "mine") == (
        "cannot read mine: gone, see d"
    )


# --- orders


def test_every_kind_of_order_becomes_a_take_that_its_receipt_makes_again(server, client, tmp_path, monkeypatch, capsys):
    source = bring(client, server.song.read_bytes(), "evening.wav").json()["id"]
    orders: list[dict[str, Any]] = [
        {"kind": "new", "seconds": 1.0, "count": 2},
        {"kind": "continue", "source": source, "seconds": 1.0},
        {"kind": "vary", "source": source, "amount": 0.5},
        {"kind": "like", "source": source, "seconds": 1.0},
        {"kind": "loop", "bars": 1, "tempo": 120.0},
        {"kind": "fill", "source": source, "begin": 1.0, "end": 1.5},
        {"kind": "new", "seconds": 1.0, "tempo": 90.0, "meter": "6/8"},
    ]
    takes = [take for order in orders for take in made(client, model="first", seed=3, **order)]
    (kept,) = server.place.library.glob("*.source.flac")  # as it was brought
    original, song_rate = soundfile.read(kept, dtype="int32", always_2d=True)
    assert sorted(take["kind"] for take in takes) == ["continue", "fill", "like", "loop", "new", "new", "new", "vary"]
    client.delete(f"/api/uploads/{source}")  # what a take was made from lies beside it
    monkeypatch.chdir(tmp_path)
    for take in takes:
        sound = client.get(f"/api/takes/{take['id']}/sound")
        assert "attachment" not in sound.headers["content-disposition"]
        library = Library(server.place.library)
        path = library.path(take["id"])
        assert sound.content == path.read_bytes()
        assert len(take["peaks"]) == PEAKS and max(take["peaks"]) == 1.0
        samples, rate = soundfile.read(path)
        assert rate == (song_rate if take["kind"] == "fill" else SAMPLE_RATE) and len(samples) / rate == pytest.approx(
            take["seconds"], abs=0.001
        )
        assert take["receipt"]["seed"] == 3 and take["receipt"]["steps"] == 2
        assert reproduce([str(path), "--checkpoints", str(server.place.models.folders["first"])]) == 0
        assert "identical" in capsys.readouterr().out
    seam = next(take["seam_seconds"] for take in takes if take["kind"] == "continue")
    assert seam == pytest.approx(6.0, abs=0.01)
    loop, filled = (next(take for take in takes if take["kind"] == kind) for kind in ("loop", "fill"))
    assert loop["name"].startswith("A loop, 1 bar at 120") and loop["seconds"] == 2.0
    assert b"LOOPLENGTH=%d" % (2 * SAMPLE_RATE) in client.get(f"/api/takes/{loop['id']}/sound").content
    found = soundfile.read(Library(server.place.library).path(filled["id"]), dtype="int32", always_2d=True)[0]
    outside = np.r_[0:song_rate, song_rate * 3 // 2 : len(original)]
    assert np.array_equal(found[outside], original[outside]) and not np.array_equal(found, original)
    again = made(client, model="first", seed=3, **orders[0])
    assert again == []  # made before in just this way


def test_a_loop_has_the_bars_that_are_ordered(client):
    (take,) = made(client, kind="loop", bars=1, tempo=150.0, meter="3/4", model="first", seed=5)
    assert take["name"].startswith("A loop, 1 bar of 3/4 at 150") and take["seconds"] == pytest.approx(3 * 60 / 150)
    assert take["receipt"]["meter"] == "3/4"


def test_what_the_training_music_lacks_is_told_with_the_order(server, client):
    style = server.place.models.get("first").generator.style
    anchors = style.anchors.clone()
    try:
        usual = AskedTempo(float(style.tempo_and_movement()[0].median()))
        style.anchors.copy_(anchors[style.with_tempo_near(usual)[:1]].expand_as(anchors))
        beats = 1.3 * float(style.tempo_and_movement()[0][0])
        order = {"kind": "new", "seconds": 1.0, "model": "first", "tempo": 60 * beats}
        answer = client.post("/api/makes", json=order).json()
        until(lambda: answer["id"] not in {make["id"] for make in client.get("/api/makes").json()})
    finally:
        style.anchors.copy_(anchors)
    assert any("no music that this model learned from has a beat near" in note for note in answer["notes"])
    assert client.post("/api/makes", json={"kind": "new", "seconds": 1.0, "model": "first"}).json()["notes"] == []


def test_orders_say_how_far_they_are_and_can_be_taken_back(server, client):
    events = []
    with client.stream("GET", "/api/events") as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": here"
        answer = client.post("/api/makes", json={"kind": "new", "model": "second", "seconds": 300.0, "count": 12})
        make = answer.json()["id"]
        while not any(job["id"] == make and job["done"] > 0 for event in events for job in event.get("makes", [])):
            line = next(lines)
            events += [json.loads(line.removeprefix("data: "))] if line.startswith("data: ") else []
        running = next(job for job in events[-1]["makes"] if job["id"] == make)
        assert running["state"] == "running" and running["total"] == 3600.0 and running["eta_seconds"] > 0
        assert running["title"] == "A new piece" and running["error"] is None
        assert client.delete(f"/api/makes/{make}").status_code == 204
        while events[-1].get("makes") != []:
            line = next(lines)
            events += [json.loads(line.removeprefix("data: "))] if line.startswith("data: ") else []
    assert client.get("/api/makes").json() == []
    assert client.delete(f"/api/makes/{make}").status_code == 404


def test_orders_that_cannot_be_are_refused_in_a_sentence(server, client):
    for order, status, says in (
        ({"kind": "vary", "source": "nobody"}, 404, "the sound to go on from is not here any more"),
        ({"kind": "new", "model": "/etc"}, 404, "there is no model /etc here"),
        ({"kind": "new", "seconds": 1e9}, 400, "seconds: Input should be less than or equal to 300"),
        ({"kind": "new", "steps": 10**9}, 400, "steps: must be auto or a whole number"),
        ({"kind": "steal"}, 400, "kind: Input should be"),
        ({"kind": "loop"}, 400, "a loop wants a tempo"),
        ({"kind": "loop", "tempo": 5.0}, 400, "tempo: Input should be greater"),
        ({"kind": "loop", "tempo": 90.0, "meter": "3/5"}, 400, "a bar has 1 to 32 beats"),
        ({"kind": "new", "meter": "0/4"}, 400, "a bar has 1 to 32 beats"),
        ({"kind": "new", "meter": "--help"}, 400, "meter: String should match"),
        ({"kind": "vary", "source": "some", "tempo": 90.0}, 400, "tempo is of new music and of loops."),
        ([], 400, "request: Input should be"),
    ):
        answer = client.post("/api/makes", json=order)
        assert answer.status_code == status and answer.json()["error"].startswith(says), answer.text
    short = server.song.parent / "short.wav"
    write_audio(short, np.full((1, 4000), 0.1, np.float32) * np.sin(np.arange(4000)).astype(np.float32), SAMPLE_RATE)
    source = bring(client, short.read_bytes(), "short.wav").json()["id"]
    answer = client.post("/api/makes", json={"kind": "fill", "source": source, "begin": 0.1, "end": 9.0})
    assert answer.status_code == 400
    assert answer.json()["error"] == "the region from 0.1 to 9 s ends behind short.wav, which lasts 0.50 s."
    answer = client.post("/api/makes", json={"kind": "like", "source": source})
    assert answer.status_code == 422
    assert answer.json()["error"] == "short.wav is too short to have a style: at least 2 s are needed."
    jobs = [{"kind": "new", "seconds": 300.0, "seed": seed} for seed in range(LIMITS.jobs + 1)]
    answers = [client.post("/api/makes", json=job) for job in jobs]
    assert [answer.status_code for answer in answers] == [202] * LIMITS.jobs + [429]
    assert answers[-1].json()["error"] == "3 orders wait already. Let one be finished first."
    for make in client.get("/api/makes").json():
        client.delete(f"/api/makes/{make['id']}")


def test_a_disk_that_is_full_is_told_and_nothing_half_is_left(server, tmp_path, monkeypatch):
    from piano.play.makes import Makes

    library = Library(tmp_path / "takes")
    makes = Makes(
        server.place.models, library, LIMITS, server.place.scheduler, find=lambda _: None, changed=lambda told: None
    )
    full = OSError(28, "No space left on device")

    def refuse(*_: Any, **__: Any) -> None:
        raise full

    monkeypatch.setattr("piano.made_sounds.publish_together", refuse)
    make = makes.order(Order(kind="new", model="first", seconds=1.0, seed=99))
    until(lambda: make.error)
    assert make.error == "This could not be kept: the disk is full."
    assert library.takes() == [] and not [path for path in library.folder.iterdir()]
    assert makes.told()[0]["state"] == "failed"


# --- takes on disk


@pytest.fixture
def shelf(tmp_path) -> Library:
    folder = tmp_path / "takes"
    for index in range(3):
        tone = np.sin(np.arange(4000) * 0.1).astype(np.float32) * np.linspace(0.0, 0.5, 4000, dtype=np.float32)
        write_audio(folder / f"piece_{index}.wav", tone[None], 8000)
    library = Library(folder)
    for index in range(3):
        library.add(folder / f"piece_{index}.wav", name=f"Piece {index}", kind="new", model="first")
    return library


def test_what_is_on_disk_is_the_truth(shelf):
    first, second, third = reversed(shelf.takes())
    shelf.change(first.id, name="  The\x1b one ", is_favourite=True)
    shelf.delete(second.id)
    again = Library(shelf.folder)  # after a restart
    assert [take.id for take in again.takes()] == [third.id, first.id]
    kept = again.get(first.id)
    assert kept.is_favourite and "\x1b" not in kept.name and kept.name.startswith("The")
    with pytest.raises(NotHere):
        again.get(second.id)
    assert {path.name for path in (shelf.folder / TRASH).iterdir()} == {"piece_1.wav", f"piece_1.wav{SUFFIX}"}
    again.restore(second.id)
    assert again.get(second.id) == second and len(Library(shelf.folder).takes()) == 3
    with pytest.raises(ConfigError, match="at least one letter"):
        shelf.change(first.id, name="   ")


def test_a_take_that_comes_back_replaces_nothing(shelf):
    take = shelf.takes()[-1]
    shelf.delete(take.id)
    other = b"somebody else's"
    (shelf.folder / take.file).write_bytes(other)
    shelf.restore(take.id)
    assert (shelf.folder / take.file).read_bytes() == other
    assert shelf.get(take.id).file == "piece_0-2.wav" and shelf.path(take.id).stat().st_size > 8000
    shelf.delete(take.id)
    with pytest.raises(NotHere):
        shelf.delete(take.id)


def test_a_move_that_was_cut_off_loses_no_take(shelf, monkeypatch):
    take = shelf.takes()[0]

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "move", cut)
    with pytest.raises(KeyboardInterrupt):
        shelf.delete(take.id)
    monkeypatch.undo()
    again = Library(shelf.folder)
    assert again.get(take.id) == take
    again.delete(take.id)
    again.restore(take.id)
    assert again.get(take.id).seconds == take.seconds


def test_files_of_others_are_left_alone_and_not_served(shelf, tmp_path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"secret")
    folder, take = shelf.folder, shelf.takes()[0]
    facts = json.loads((folder / f"{take.file}{SUFFIX}").read_text())
    strange = {
        "song.mp3": b"foreign",
        f"gone.wav{SUFFIX}": json.dumps({**facts, "file": "gone.wav", "id": "gone123"}).encode(),
        f"evil{SUFFIX}": json.dumps({**facts, "file": "../secret.wav", "id": "evil123"}).encode(),
        f"half.wav{SUFFIX}": b'{"id": "half12',
        f"list.wav{SUFFIX}": b"[1, 2]",
        f"deep.wav{SUFFIX}": b"[" * 100_000,
        f"huge.wav{SUFFIX}": b" " * (2 << 20),
    }
    for name, content in strange.items():
        (folder / name).write_bytes(content)
    (folder / "link.wav").symlink_to(secret)
    (folder / f"link.wav{SUFFIX}").write_text(json.dumps({**facts, "file": "link.wav", "id": "link123"}))
    for library in (shelf, Library(folder)):
        assert len(library.takes()) == 3
    assert all((folder / name).read_bytes() == content for name, content in strange.items())


def test_takes_over_http_are_renamed_kept_and_never_a_path(server, client):
    (take,) = made(client, kind="new", model="first", seconds=1.0, seed=77)
    address = f"/api/takes/{take['id']}"
    changed = client.post(address, json={"name": "a/b: c", "is_favourite": True})
    assert changed.json()["is_favourite"] and changed.json()["receipt"] == take["receipt"]
    sound = client.get(f"{address}/sound", headers={"Range": "bytes=4-7"})
    assert sound.status_code == 206 and len(sound.content) == 4
    assert sound.headers["content-disposition"] == "inline; filename*=utf-8''a_b_%20c.flac"
    assert client.delete(address).status_code == 204 and client.get(f"{address}/sound").status_code == 404
    assert client.post(f"{address}/restore").status_code == 204 and client.get(f"{address}/sound").status_code == 200
    assert client.post(address, json={"path": "/etc"}).status_code == 400
    for attempt in ("..%2f..%2fetc%2fpasswd", "%2e%2e", "trash", "seed77_sample_0000.flac", "x" * 300):
        assert client.get(f"/api/takes/{attempt}/sound").status_code == 404
    everything = client.get("/api/takes").text + client.get("/api/makes").text + client.get("/api/uploads").text
    assert str(server.place.library.parent) not in everything
    client.delete(address)


def test_peaks_are_of_parts_of_a_sound_in_their_order(tmp_path):
    sound = np.zeros((2, 100_001), np.float32)
    sound[1, 50_000] = -0.5
    sound[0, -1] = 0.25
    write_audio(tmp_path / "peaks.wav", sound, 8000)
    seconds, peaks = measured(tmp_path / "peaks.wav")
    assert seconds == pytest.approx(100_001 / 8000)
    assert {place: peak for place, peak in enumerate(peaks) if peak} == {99: 1.0, PEAKS - 1: pytest.approx(0.5)}


def test_a_source_is_kept_once_beside_its_takes(tmp_path):
    for name, content in (("a.flac", b"one"), ("b.flac", b"one"), ("c.flac", b"two")):
        (tmp_path / name).write_bytes(content)
    folder = tmp_path / "takes"
    kept = [keep_beside(tmp_path / name, folder, "so[n]g") for name in ("a.flac", "b.flac", "c.flac", "a.flac")]
    assert [path.name for path in kept] == ["so[n]g.source.flac"] * 2 + ["so[n]g.source-2.flac", "so[n]g.source.flac"]
    assert [path.read_bytes() for path in kept] == [b"one", b"one", b"two", b"one"]


# --- what was heard of a radio


def play_on(work: RadioWork, seconds: float) -> None:
    """Do what was asked for, and make so much more than was heard."""
    work.step()
    while end_of(work) < work.heard + seconds * SAMPLE_RATE:
        work.step()


def end_of(work: RadioWork) -> int:
    """Samples that were made."""
    kept = work.played(0, 2**53)
    return kept.sample + len(kept.pcm)


def radio(server: Played, **program: Any) -> RadioWork:
    return RadioWork(
        server.place.models.get("first"),
        read_wishes(program),
        name="first",
        sources=lambda: server.place.sources,
        limits=LIMITS,
        tell=lambda what: None,
    )


def kept_take(server: Played, work: RadioWork, begin: float, end: float):
    library = Library(server.place.library)
    samples = round(begin * SAMPLE_RATE), round(end * SAMPLE_RATE)
    take = keep_heard(work, *samples, library=library, models=server.place.models)
    sound, _ = soundfile.read(library.path(take.id), dtype="int16", always_2d=True)
    return library, take, sound


def again(server: Played, path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    status = reproduce([str(path), "--checkpoints", str(server.place.models.folders["first"])])
    told = capsys.readouterr().out
    assert (status == 0) == ("identical" in told)
    return told


def test_what_was_heard_of_a_radio_is_kept_and_made_again_bit_by_bit(server, client, capsys):
    client.get("/api/takes")  # opens the library
    work = radio(server, seed=5, piece=2, surprise=0.5, near=7, wander_seconds=2.0)
    play_on(work, 5.0)
    library, take, sound = kept_take(server, work, 1.0, 4.0)
    assert len(sound) == 3 * SAMPLE_RATE and take.kind == "radio" and take.seconds == 3.0
    assert np.array_equal(sound, work.played(SAMPLE_RATE, 4 * SAMPLE_RATE).pcm)
    receipt = library.receipt(take)
    assert receipt["again"] == EXACT and (receipt["seed"], receipt["piece"]) == (5, 2)
    part = read_receipt(library.path(take.id)).radio
    assert part is not None and part.begin == SAMPLE_RATE and len(part.moves) == 1
    assert "identical" in again(server, library.path(take.id), capsys)


def test_a_radio_whose_controls_moved_is_made_again_with_its_moves(server, client, capsys):
    work = radio(server, seed=5)
    play_on(work, 4.0)
    work.hear(SAMPLE_RATE)
    work.move(read_wishes({"near": 3, "surprise": 0}, work.wished), 2 * SAMPLE_RATE, 1)
    play_on(work, 4.0)
    work.move(read_wishes({"near": 9}, work.wished), round(1.5 * SAMPLE_RATE), 2)  # before the move of before
    play_on(work, 4.0)
    work.move(read_wishes({"piece": 1}, work.wished), 4 * SAMPLE_RATE, 3)
    play_on(work, 6.0)
    work.hear(5 * SAMPLE_RATE)
    between = {"steps": 1, "between": [3, 900], "blend": 0.25}
    work.move(read_wishes(between, work.wished), 6 * SAMPLE_RATE, 4)
    play_on(work, 6.0)
    library, take, sound = kept_take(server, work, 1.0, 7.5)
    receipt = library.receipt(take)
    assert [move["sample"] / SAMPLE_RATE for move in receipt["moves"]] == [0.0, 2.0, 1.5, 4.0, 6.0]
    assert len(sound) == round(6.5 * SAMPLE_RATE)
    assert "identical" in again(server, library.path(take.id), capsys)
    later, second, _ = kept_take(server, work, 5.0, 7.5)  # within the second piece: what came before plays no part
    moves = read_receipt(later.path(second.id)).radio
    assert moves is not None and [move.at / SAMPLE_RATE for move in moves.moves] == [0.0, 2.0]
    assert "identical" in again(server, later.path(second.id), capsys)


def test_a_radio_that_went_on_from_a_sound_says_that_it_cannot_be_made_again(server, client):
    source = bring(client, server.song.read_bytes(), "evening.wav").json()["id"]
    assert isinstance(server.place.sources, Sounds)
    work = radio(server, prompt=source)
    play_on(work, 3.0)
    library, take, sound = kept_take(server, work, 0.0, 2.0)
    assert np.array_equal(sound, work.played(0, 2 * SAMPLE_RATE).pcm)
    receipt = library.receipt(take)
    assert receipt["again"] == WITH_SOUNDS and "model" in receipt and receipt["moves"][0]["prompt"] == source
    with pytest.raises(AudioError, match="no receipt"):
        read_receipt(library.path(take.id))
    comment = json.loads(soundfile.SoundFile(library.path(take.id)).comment)
    assert comment["again"] == WITH_SOUNDS and comment["seed"] == 0


def test_keeping_over_http_takes_what_there_still_is(server, client):
    work = radio(server, seed=8)
    server.place.radios["here"] = work
    try:
        answer = client.post("/api/takes", json={"radio": "here", "from": 0, "to": 100})
        assert answer.status_code == 422 and answer.json()["error"].startswith("there is less than a second")
        for _ in range(6):
            play_on(work, 4.0)
            work.hear(work.heard + 3 * SAMPLE_RATE)
        answer = client.post("/api/takes", json={"radio": "here", "from": 0, "to": 2**50})
        take = answer.json()
        assert answer.status_code == 201
        end = take["receipt"]["first_sample"] / SAMPLE_RATE + take["seconds"]
        assert end == pytest.approx(end_of(work) / SAMPLE_RATE, abs=0.01)
        assert LIMITS.kept_seconds <= take["seconds"] < LIMITS.kept_seconds + 12.0
    finally:
        del server.place.radios["here"]
    answer = client.post("/api/takes", json={"radio": "here", "from": 0, "to": 90_000})
    assert answer.status_code == 404 and "plays no more" in answer.json()["error"]


def test_a_radio_forgets_the_moves_that_nothing_kept_depends_on():
    def moved(sample: int, piece: int, **wishes: Any) -> Moved:
        return Moved(sample, Wishes(piece=piece, **wishes), sample)

    history = [moved(0, 0), moved(10_000, 0, near=1), moved(20_000, 1), moved(30_000, 1, near=2), moved(60_000, 2)]
    assert first_needed(history, 25_000, 1000) == 2  # 0.8 s after 20,000 the piece before has faded out
    assert first_needed(history, 20_500, 1000) == 0
    assert first_needed(history, 99_999, 1000) == 4
    assert first_needed([*history, moved(50_000, 2, near=5)], 99_999, 1000) == 2  # goes back to before its piece
