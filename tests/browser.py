"""A real browser for tests: Chromium without a window, spoken to over a pipe in the DevTools protocol."""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_SECONDS = 120.0
"""A busy machine takes long to start a browser."""


def find_chromium() -> str | None:
    """The browser's program, if there is one; it is driven over file descriptors 3 and 4, which Windows lacks."""
    return next((path for name in NAMES if (path := shutil.which(name))), None) if os.name == "posix" else None


class Browser:
    """One open page. `events` holds everything it reported, in order."""

    def __init__(self, process: subprocess.Popen, to_browser: int, from_browser: int) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._to, self._from = to_browser, from_browser
        self._number = 0
        self._rest = b""
        self._session: str | None = None

    def open(self, page: Path | str) -> None:
        """Load a file or an address of this machine, and note every request from the first on."""
        url = page if isinstance(page, str) else page.resolve().as_uri()
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Network", "Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.send("Page.navigate", url=url)
        self.wait_for(f"document.readyState === 'complete' && location.href.startsWith({url.split('#')[0]!r})")

    def set_width(self, width: int, *, height: int = 800, is_dark: bool = False) -> None:
        """Size of the window in CSS pixels, and the colours the reader prefers."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = "dark" if is_dark else "light"
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Wait until an expression is true."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while not self.evaluate(script):
            assert time.monotonic() < limit, f"never became true: {script}"
            time.sleep(0.05)

    def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown" if text else "rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask, and return the answer; what the browser reports meanwhile goes to `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        limit = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = self._read(limit)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def _read(self, limit: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(limit - time.monotonic(), 0.0))
            assert ready, "the browser does not answer"
            piece = os.read(self._from, 1 << 20)
            assert piece, "the browser has gone"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@contextmanager
def chromium(program: str, profile: Path, *more: str) -> Iterator[Browser]:
    """A browser with a profile of its own and no way into a network; `more` are flags of Chromium."""
    import fcntl  # not on Windows

    (read_commands, write_commands), (read_answers, write_answers) = os.pipe(), os.pipe()
    # First out of the way: one of them may be 3 or 4 itself.
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (read_commands, write_answers)]

    def place() -> None:
        os.dup2(ends[0], 3)
        os.dup2(ends[1], 4)

    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--mute-audio",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
        "--autoplay-policy=no-user-gesture-required",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
        *more,
    ]
    process = subprocess.Popen(
        [program, *flags],
        preexec_fn=place,
        pass_fds=(3, 4),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in (read_commands, write_answers, *ends):
        os.close(end)
    browser = Browser(process, write_commands, read_answers)
    try:
        yield browser
    finally:
        process.terminate()
        process.wait(timeout=30)
        os.close(write_commands)
        os.close(read_answers)
