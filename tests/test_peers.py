"""Processes of a run know of each other; here two of them are two objects in one process, each with its own line."""

import socket
import threading
from collections.abc import Iterator
from queue import Queue
from typing import Any

import pytest

from piano.foundation import peers
from piano.foundation.peers import Peers


class Meeting:
    """Lets the main one say something to the others, as a broadcast does."""

    def __init__(self, size: int) -> None:
        self.said: list[Queue[Any]] = [Queue() for _ in range(size)]

    def exchange_of(self, rank: int) -> Any:
        def exchange(value: Any) -> Any:
            if rank:
                return self.said[rank].get(timeout=30)
            for queue in self.said[1:]:
                queue.put(value)
            return value

        return exchange


def die(process: Peers) -> None:
    """End without a word: nothing is heard any more, and the system closes the lines."""
    process._left.set()
    process._thread.join(timeout=30)
    for line in process._lines.values():
        line.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Peers]]:
    monkeypatch.setattr(peers, "GRACE_SECONDS", 300.0)  # this process is not to be ended
    meeting, made = Meeting(3), {}

    def join(rank: int) -> None:
        made[rank] = Peers(rank, 3, address="127.0.0.1", exchange=meeting.exchange_of(rank), speaks_for_node=rank == 1)

    threads = [threading.Thread(target=join, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    everybody = [made[rank] for rank in range(3)]
    yield everybody
    for one in everybody:
        one.leave()


def test_who_says_goodbye_is_not_missed(three: list[Peers]) -> None:
    three[2].leave()
    assert three[0].lost(wait_seconds=2.5) == "" and three[1].lost(wait_seconds=0.0) == ""
    three[0].leave()
    assert three[1].lost(wait_seconds=2.5) == ""


def test_an_error_of_one_is_told_to_all_with_what_to_do(three: list[Peers]) -> None:
    for one in three:
        one.advice = "Go on."
    three[1].leave("the disk is full.")
    for other in (three[0], three[2]):
        assert other.lost(wait_seconds=10.0) == "process 2 of 3 stopped: the disk is full. Go on."
    assert [one.speaks for one in three] == [True, False, False]


def test_a_line_that_breaks_is_a_process_that_is_gone(three: list[Peers]) -> None:
    die(three[2])
    for other in (three[0], three[1]):
        assert other.lost(wait_seconds=10.0).startswith("process 3 of 3 ended without a word")


def test_where_the_main_process_is_gone_one_of_the_others_speaks(three: list[Peers]) -> None:
    die(three[0])
    for other in three[1:]:
        assert other.lost(wait_seconds=10.0).startswith("process 1 of 3 ended without a word")
    assert [other.speaks for other in three[1:]] == [True, False]


def test_who_falls_silent_is_gone(three: list[Peers], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(three[2], "_send", lambda rank, value: None)
    monkeypatch.setattr(peers, "BEAT_TICKS", 1)
    monkeypatch.setattr(peers, "SILENT_SECONDS", 4.0)
    assert "process 3 of 3 has been silent for 4 seconds" in three[0].lost(wait_seconds=30.0)
    three[0].leave()


def test_a_stranger_who_does_not_know_the_word_is_not_taken_for_a_process() -> None:
    meeting, found = Meeting(2), {}

    def main() -> None:
        found["main"] = Peers(0, 2, address="127.0.0.1", exchange=meeting.exchange_of(0), speaks_for_node=False)

    thread = threading.Thread(target=main)
    thread.start()
    port, word = meeting.said[1].get(timeout=30)
    for said in (b'{"rank": 1, "word": "guessed"}\n', b"GET / HTTP/1.1\r\n\r\n\n", b"[]\n", b""):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
            stranger.sendall(said)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(100) == b""  # hung up on
    assert "main" not in found
    meeting.said[1].put((port, word))
    other = Peers(1, 2, address="127.0.0.1", exchange=meeting.exchange_of(1), speaks_for_node=True)
    thread.join(timeout=30)
    assert found["main"].lost(wait_seconds=0.0) == ""
    for one in (other, found["main"]):
        one.leave()
