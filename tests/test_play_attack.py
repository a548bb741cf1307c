"""What strangers may try at the playing server, really done to a live one; after each the server answers as before."""

import base64
import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

httpx = pytest.importorskip("httpx", reason="the extra dev is not installed")
pytest.importorskip("uvicorn", reason="the extra play is not installed")
pytest.importorskip("starlette", reason="the extra play is not installed")
pytest.importorskip("websockets", reason="the extra play is not installed")

from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import ClientConnection, connect  # noqa: E402

from piano.play.place import Limits  # noqa: E402
from tests.play_address import Played, played  # noqa: E402
from tests.tiny_run import SAMPLE_RATE  # noqa: E402

TOKEN = "a-token-of-a-test"
LIMITS = Limits(
    upload_bytes=200_000,
    upload_seconds=20.0,
    uploads=3,
    sockets=12,
    streams=3,
    request_seconds=2.0,
    stalled_seconds=1.0,
)
WAIT = 60.0
"""Seconds that a server may take on a busy computer."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    with played(tmp_path_factory.mktemp("attacked"), limits=LIMITS) as server:
        yield server


@pytest.fixture
def server(running: Played) -> Iterator[Played]:
    """The server before an attack; after it, it is as well as ever."""
    yield running
    assert_well(running)


def assert_well(server: Played, **headers: str) -> None:
    """It answers, a listener hears music, nothing of an attack is left, and no place of the disk is told."""
    health = httpx.get(f"{server.address}/api/health", timeout=WAIT, headers=headers).json()
    assert health["status"] == "ok"
    wait_until(lambda: not server.place.radios and not server.place.streams)
    with listening(server, additional_headers=headers) as radio:
        hear_some(radio)
    wait_until(lambda: not server.place.radios)


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "still not so"
        time.sleep(0.02)


def listening(server: Played, *, origin: str | None = "", **more: Any) -> ClientConnection:
    """A socket to the radio, from our own page unless said otherwise."""
    return connect(
        f"ws://127.0.0.1:{server.port}/api/radio",
        origin=server.address if origin == "" else origin,  # type: ignore[arg-type]
        max_size=None,
        open_timeout=WAIT,
        close_timeout=0.5,  # what is not read yet is in the way of a farewell
        **more,
    )


def handshake(server: Played) -> bytes:
    """What opens a socket to the radio, for who means to speak no more than that."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = ["GET /api/radio HTTP/1.1", f"Host: 127.0.0.1:{server.port}", f"Origin: {server.address}"]
    lines += ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
    return "\r\n".join([*lines, "", ""]).encode()


def hear_some(radio: ClientConnection, **program: Any) -> int:
    """Start a radio and take half a second of it: its bytes are sound, and not silence."""
    radio.send(json.dumps({"type": "start", "program": {"steps": 1, "phase_iterations": 0} | program}))
    taken = np.zeros(0, dtype=np.int16)
    while len(taken) < SAMPLE_RATE // 2:
        message = radio.recv(timeout=WAIT)
        if isinstance(message, bytes):
            taken = np.concatenate([taken, np.frombuffer(message[8:], "<i2")])
    assert np.abs(taken).max() > 100
    return len(taken)


def reason_of(radio: ClientConnection, kind: str) -> str:
    """The sentence of the next message of a kind."""
    while True:
        message = radio.recv(timeout=WAIT)
        if isinstance(message, str) and (told := json.loads(message))["type"] == kind:
            return told["reason"]


def raw(server: Played, request: bytes, *, most: int = 1 << 20) -> bytes:
    """What a server answers to bytes that no client library would send."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT) as line:
        line.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while len(answer) < most and (part := line.recv(65_536)):
                answer += part
    return answer


def get(server: Played, path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Connection: close", *headers]
    return raw(server, "\r\n".join([*lines, "", ""]).encode("latin-1"))


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def is_sentence(answer: Any) -> bool:
    """Whether an answer says in a sentence what is wrong, and neither where files lie nor what the program is."""
    told = answer.json()["error"]
    hidden = ("Traceback", "/tmp", "piano.", "pydantic", "0x")
    return 8 < len(told) < 400 and not any(word in told for word in hidden)


# --- other folders -------------------------------------------------------------------------------------------------

UP = ("../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..\\", "..%5c", "%252e%252e%252f", "..%c0%af", "....//")


@pytest.mark.parametrize("up", UP)
@pytest.mark.parametrize("start", ["/page/", "/api/takes/", "/api/uploads/", "/api/runs/", "/api/blind/sounds/", "/"])
def test_no_other_folder_is_reached(running, start, up):
    for goal in ("etc/passwd", "play/command.py", "server.py", "__init__.py"):
        answer = get(running, start + up * 8 + goal)
        assert status(answer) in (400, 404, 405), answer[:200]
        assert b"root:" not in answer and b"import " not in answer
        near = get(running, start + up + goal)
        assert status(near) in (400, 404, 405) and b"import " not in near


@pytest.mark.parametrize(
    "path", ["//etc/passwd", "/page//etc/passwd", "/page/%2fetc/passwd", "/page/..%00/", "/page/", "/page/%00", "/page"]
)
def test_absolute_and_cut_paths_reach_nothing(server, path):
    answer = get(server, path)
    assert status(answer) in (307, 400, 404, 405) and b"root:" not in answer
    whole = get(server, f"http://127.0.0.1:{server.port}/etc/passwd")
    assert status(whole) in (400, 404) and b"root:" not in whole


def test_a_link_out_of_the_page_folder_is_not_followed_by_ids(server):
    for kind in ("takes", "uploads"):
        for name in ("..", ".", "%2e%2e", "a" * 5000, "a\\b", "%0d%0aSet-Cookie:x=1"):
            answer = get(server, f"/api/{kind}/{name}/sound")
            assert status(answer) in (400, 404, 405) and b"set-cookie" not in answer.lower()


# --- strangers' pages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:7777", "", "localhost@evil.example", "[::2]"]
)
def test_another_name_for_this_computer_is_refused(server, host):
    answer = httpx.get(f"{server.address}/api/takes", headers={"Host": host})
    assert answer.status_code in (400, 421)
    with pytest.raises(InvalidStatus):
        listening(server, additional_headers={"Host": host}).close()


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "file://", "http://localhost", "x"]
)
def test_another_page_can_change_nothing_and_hear_nothing(server, origin):
    headers = {"Origin": origin}
    with httpx.Client(base_url=server.address, headers=headers, timeout=WAIT) as client:
        for method, path in (
            ("POST", "/api/uploads"),
            ("POST", "/api/makes"),
            ("POST", "/api/takes"),
            ("POST", "/api/blind"),
            ("DELETE", "/api/takes/abcdefgh"),
            ("GET", "/api/takes"),
        ):
            answer = client.request(method, path, content=b"{}" if method == "POST" else None)
            assert answer.status_code == 403 and is_sentence(answer), (method, path)
    with pytest.raises(InvalidStatus) as refused:
        listening(server, origin=origin).close()
    assert refused.value.response.status_code == 403


def test_who_changes_something_says_from_where(server):
    for method, path in (("POST", "/api/makes"), ("DELETE", "/api/makes/abcdefgh")):
        answer = httpx.request(method, f"{server.address}{path}", timeout=WAIT)
        assert answer.status_code == 403 and is_sentence(answer)
    with pytest.raises(InvalidStatus):
        listening(server, origin=None).close()


def test_a_sound_element_of_another_page_is_refused_and_a_link_is_followed(server):
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    refused = httpx.get(f"{server.address}/api/stream.wav?seconds=1", headers=foreign, timeout=WAIT)
    assert refused.status_code == 403 and is_sentence(refused)
    visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert httpx.get(f"{server.address}/", headers=visit, timeout=WAIT).status_code == 200
    assert httpx.get(f"{server.address}/api/takes", headers=visit, timeout=WAIT).status_code == 403


def test_every_answer_keeps_strangers_out(server):
    for path in ("/", "/page/main.js", "/api/health", "/nothing"):
        headers = httpx.get(f"{server.address}{path}", timeout=WAIT).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy and "unsafe-eval" not in policy and "*" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers


# --- the token -----------------------------------------------------------------------------------------------------


def test_without_the_token_nothing_is_told_and_with_it_all(tmp_path):
    with played(tmp_path, token=TOKEN) as server, httpx.Client(base_url=server.address, timeout=WAIT) as client:
        for wrong in ("", "a", TOKEN[:-1], TOKEN + "x", "é", "\x00"):
            answer = client.get("/api/health", params={"token": wrong})
            assert answer.status_code == 401 and is_sentence(answer) and "set-cookie" not in answer.headers
        for path in ("/", "/page/main.js", "/api/takes", "/api/stream.wav?seconds=1"):
            assert client.get(path).status_code == 401
        for kind in ("Basic ", "bearer", "Bearer x"):
            assert client.get("/api/health", headers={"Authorization": kind + TOKEN}).status_code == 401
        with pytest.raises(InvalidStatus):
            listening(server).close()
        assert client.get("/api/health", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        first = client.get("/", params={"token": TOKEN})
        assert first.status_code == 200
        assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in first.headers["set-cookie"].split(";")}
        assert client.get("/api/takes").status_code == 200  # by the cookie
        foreign = client.delete("/api/takes/abcdefgh", headers={"Origin": "http://evil.example"})
        assert foreign.status_code == 403  # a cookie alone is no leave for another page
        assert_well(server, Authorization=f"Bearer {TOKEN}")


# --- broken requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 200_000 + b"\r\nConnection: close\r\n\r\n",
        b"POST /api/makes HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\nConnection: close\r\n\r\n",
        b"POST /api/makes HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n"
        b"Connection: close\r\n\r\nzz\r\n",
        bytes(range(256)) * 20 + b"\r\n\r\n",
    ],
    ids=["tls", "short", "two hosts", "no host", "long path", "long header", "length", "smuggled", "noise"],
)
def test_requests_that_are_none_are_refused(server, request_bytes):
    answer = raw(server, request_bytes)
    assert not answer or 400 <= status(answer) < 500, answer[:100]


@pytest.mark.parametrize("path", ["/api/makes", "/api/takes", "/api/blind"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"new"',
        b"{",
        b"\xff\xfe\x00",
        b"[" * 16_000,
        b'{"a": ' * 2000,
        b'{"kind": "new", "seconds": NaN}',
        b'{"kind": "new", "seconds": 1e999}',
        b'{"kind": "new", "seconds": -1}',
        b'{"kind": "new", "seconds": "many"}',
        b'{"kind": "new", "count": 1e9}',
        b'{"kind": "new", "seed": 123456789012345678901234567890}',
        b'{"kind": "new", "steps": 100000}',
        b'{"kind": "erase"}',
        b'{"kind": "new", "model": "../../etc"}',
        b'{"kind": "continue", "source": "../../etc/passwd"}',
        b'{"kind": "new", "model": {"$ne": 1}}',
        b'{"radio": "x", "from": -1, "to": 1e400}',
        b'{"__class__": "os.system"}',
        b'{"kind": "new", "kind": "new", "extra": "' + b"x" * 20_000 + b'"}',
    ],
)
def test_bodies_that_are_none_get_a_sentence_and_make_nothing(running, path, body):
    headers = {"Origin": running.address, "Content-Type": "application/json"}
    answer = httpx.post(f"{running.address}{path}", content=body, headers=headers, timeout=WAIT)
    assert 400 <= answer.status_code < 500 and is_sentence(answer), answer.text
    assert httpx.get(f"{running.address}/api/makes", timeout=WAIT).json() == []


def test_methods_that_nobody_offers_are_refused(server):
    for method in ("PUT", "PATCH", "TRACE", "OPTIONS", "PROPFIND"):
        answer = httpx.request(method, f"{server.address}/api/takes", headers={"Origin": server.address}, timeout=WAIT)
        assert answer.status_code in (404, 405)


# --- sockets -------------------------------------------------------------------------------------------------------


def test_more_sockets_than_may_be_are_told_so_and_the_first_one_plays_on(server):
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(listening(server))
        hear_some(first, seed=1)
        others = [stack.enter_context(listening(server)) for _ in range(LIMITS.sockets + 8)]
        for radio in others[-8:]:
            assert "no more can be" in reason_of(radio, "refused")
            with pytest.raises(ConnectionClosed):
                radio.recv(timeout=WAIT)
        hear_some(first, seed=2)
    wait_until(lambda: not server.place.radios)


def test_sockets_that_are_torn_in_the_handshake_or_the_middle_leave_nothing(server):
    opening = handshake(server)
    start = json.dumps({"type": "start", "program": {}}).encode()
    mask = bytes(4)
    frames = [
        b"",
        b"\x81",
        bytes([0x81, 0x80 | len(start)]) + mask + start,  # a whole start, and then the line is cut
        bytes([0x81, 0x80 | len(start)]) + mask + start[:5],
        bytes([0x81, len(start)]) + start,  # not masked
        bytes([0xF1, 0x80]) + mask,  # reserved bits
        bytes([0x81, 0xFF]) + struct.pack(">Q", 2**62) + mask,  # longer than anything
        bytes([0x81, 0xFE]) + struct.pack(">H", 200) + mask + b"\xff" * 200,  # no UTF-8
        bytes([0x89, 0xFE]) + struct.pack(">H", 400) + mask + bytes(400),  # a ping that is too long
    ]
    for frame in frames:
        for cut in (10, len(opening)):
            line = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT)
            line.sendall(opening[:cut])
            if cut == len(opening):
                assert line.recv(4096).startswith(b"HTTP/1.1 101")
                line.sendall(frame)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, not closed
            line.close()
    wait_until(lambda: not server.place.radios)


def test_who_connects_and_asks_for_nothing_is_let_go_and_a_listener_is_not(server):
    lines = []
    with listening(server) as radio:
        for begin in (b"", b"GET / HTTP/1.1\r\nHost: a"):
            for _ in range(100):
                lines.append(socket.create_connection(("127.0.0.1", server.port), timeout=WAIT))
                lines[-1].sendall(begin)
        for line in lines:
            assert line.recv(4096) == b""
            line.close()
        hear_some(radio)


def test_a_frame_that_is_too_large_ends_its_socket_only(server):
    with listening(server) as radio:
        with contextlib.suppress(ConnectionClosed):
            radio.send("x" * 200_000)
        with pytest.raises(ConnectionClosed):
            while True:
                radio.recv(timeout=WAIT)


def test_who_reads_nothing_is_let_go_and_the_others_play_on(server):
    line = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.sendall(handshake(server))
    assert line.recv(4096).startswith(b"HTTP/1.1 101")  # and nothing more from here on
    start = json.dumps({"type": "start", "program": {"steps": 1, "phase_iterations": 0}}).encode()
    line.sendall(bytes([0x81, 0x80 | len(start)]) + bytes(4) + start)
    wait_until(lambda: server.place.radios)
    (work,) = server.place.radios.values()
    wait_until(lambda: work.urgency() is None)  # it has what a listener may have, and gets no more
    made = work.ahead_seconds
    assert made < LIMITS.ahead_seconds + 5.0
    with listening(server) as other:
        hear_some(other)
    assert work.ahead_seconds == made
    line.close()


def test_who_says_that_all_was_heard_gets_no_more_than_time_passes(server):
    with listening(server) as greedy, listening(server) as honest:
        begun, taken, end = time.monotonic(), 0, 0
        greedy.send(json.dumps({"type": "start", "program": {}}))
        while (past := time.monotonic() - begun) < 4.0:
            try:
                message = greedy.recv(timeout=0.2)
            except TimeoutError:
                message = ""
            if isinstance(message, bytes):
                end = int(struct.unpack("<d", message[:8])[0]) + (len(message) - 8) // 2
                taken = max(taken, end)
            if "format" not in str(message)[:20]:
                greedy.send(json.dumps({"type": "heard", "sample": end}))
        most = 1.02 * past + 2.0 + LIMITS.ahead_seconds + 4.5  # a piece more may be under way
        assert 0 < taken / SAMPLE_RATE < most
        hear_some(honest)


def test_who_turns_a_control_all_the_time_silences_nobody(server):
    with listening(server) as restless, listening(server) as other:
        hear_some(restless)
        for index in range(300):
            restless.send(json.dumps({"type": "move", "id": index, "at": 0, "program": {"near": index}}))
        hear_some(other)
        works = list(server.place.radios.values())
        assert all(len(work._history) <= 310 for work in works)


# --- streams -------------------------------------------------------------------------------------------------------


def test_streams_that_are_dropped_at_once_leave_their_places(server):
    request = f"GET /api/stream.wav?seconds=inf HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    for _ in range(12):
        line = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT)
        line.sendall(request)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()
    wait_until(lambda: server.place.streams == 0)
    answer = httpx.get(f"{server.address}/api/stream.wav?seconds=0.5&steps=1", timeout=WAIT)
    assert answer.status_code == 200 and answer.content[:4] == b"RIFF"


def test_a_stream_that_nobody_reads_ends(server):
    line = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    path = "/api/stream.wav?seconds=inf&steps=1&phase_iterations=0"
    line.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
    wait_until(lambda: server.place.streams == 1)
    wait_until(lambda: server.place.streams == 0)
    line.close()


# --- uploads -------------------------------------------------------------------------------------------------------


def bring(server: Played, content: Any, *, name: str = "x.wav", **headers: str) -> Any:
    return httpx.post(
        f"{server.address}/api/uploads",
        content=content,
        headers={"Origin": server.address, "X-File-Name": name, **headers},
        timeout=WAIT,
    )


def kept(server: Played) -> set[str]:
    folder = server.place.library / "uploads"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00\x02\x00" + b"\xff" * 64,
        b"fLaC" + os.urandom(4000),
        b"OggS" + os.urandom(4000),
        b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(2000),
        b"<html><script>alert(1)</script></html>",
        b"#EXTM3U\n/etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"PK\x03\x04" + os.urandom(1000),
        os.urandom(20_000),
    ],
    ids=["empty", "riff", "wav", "flac", "ogg", "id3", "html", "playlist", "concat", "zip", "noise"],
)
def test_files_that_are_no_sound_get_a_sentence_and_leave_nothing(running, content):
    before = kept(running)
    answer = bring(running, content)
    assert answer.status_code == 422 and is_sentence(answer), answer.text
    assert b"root:" not in answer.content
    assert kept(running) == before


def test_what_is_too_large_is_refused_however_it_comes(server):
    before = kept(server)
    large = bytes(LIMITS.upload_bytes + 1)
    whole, parts = bring(server, large), bring(server, (large[at : at + 9000] for at in range(0, len(large), 9000)))
    assert whole.status_code == parts.status_code == 413
    assert is_sentence(whole) and is_sentence(parts)
    # says that it is small, and is not: HTTP takes what was said
    request = (
        f"POST /api/uploads HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nOrigin: {server.address}\r\n"
        "Content-Length: 10\r\nConnection: close\r\n\r\n"
    ).encode()
    assert status(raw(server, request + large[:100_000])) in (400, 422)
    # says that it is large, and stops
    line = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT)
    line.sendall(request.replace(b"Length: 10", b"Length: 100000") + bytes(500))
    line.close()
    wait_until(lambda: kept(server) == before)


def test_a_long_sound_in_few_bytes_is_refused(server, tmp_path):
    import soundfile

    path = tmp_path / "long.flac"
    soundfile.write(path, np.full(int(40 * SAMPLE_RATE), 0.5), SAMPLE_RATE)
    assert path.stat().st_size < LIMITS.upload_bytes
    before = kept(server)
    answer = bring(server, path.read_bytes())
    assert answer.status_code == 422 and "minutes" in answer.json()["error"]
    assert kept(server) == before


def test_names_are_never_paths_and_places_are_bounded(server):
    sound = server.song.read_bytes()
    brought = []
    for name in ("..%2F..%2F..%2Fevil.wav", "C%3A%5Cevil%0d%0a.wav", "%00" + "x" * 3000):
        answer = bring(server, sound, name=name)
        assert answer.status_code == 201, answer.text
        told = answer.json()
        assert "/" not in told["name"] and "\n" not in told["name"] and len(told["name"]) <= 80
        brought.append(told["id"])
    full = bring(server, sound)
    assert full.status_code in (400, 409, 422, 429, 503) and is_sentence(full)
    assert not list(server.place.library.parent.glob("**/evil*"))
    for upload in brought:
        gone = httpx.delete(f"{server.address}/api/uploads/{upload}", headers={"Origin": server.address}, timeout=WAIT)
        assert gone.status_code == 204
    assert httpx.get(f"{server.address}/api/uploads", timeout=WAIT).json() == []
