"""The exported page in a real browser: it composes what Python composes, asks no other host, and anybody can use it."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from browser import Browser, chromium, find_chromium

from piano.composer import Composer, Sampling
from piano.export_model import main, parse_arguments
from piano.exporting import web_runtime
from piano.exporting.composing_table import PHASE_ITERATIONS
from piano.exporting.web_folder import export
from piano.exporting.web_runtime import read_package
from piano.foundation.errors import ConfigError
from piano.utilities import load_generator
from tests.exported_model import fitted_network, give_away

pytest.importorskip("onnxruntime", reason="exporting needs musigan[onnx]")

TAB, ENTER = ("Tab", 9), ("Enter", 13)
COMPOSED = """(async () => {
  const { fetchTable, fetchBytes, loadRuntime } = await import("./worker.js");
  const { Composer } = await import("./composer.js");
  const table = await fetchTable();
  const composer = new Composer(table, await loadRuntime(table, fetchBytes), { seed: SEED });
  await composer.start();
  const pieces = Array.from({ length: table.channels }, () => []);
  for (let block = 0; block < 3; block++) (await composer.block()).forEach((made, at) => pieces[at].push(...made));
  return pieces;
})()"""


class Quiet(SimpleHTTPRequestHandler):
    """A plain static host."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def follow_workers(browser: Browser) -> None:
    """Note what workers report, too, each from its first request on."""
    attached = [event["params"] for event in browser.events if event.get("method") == "Target.attachedToTarget"]
    own, known = browser._session, {event.get("known") for event in browser.events}
    for target in attached:
        if target["sessionId"] in known or not target.get("waitingForDebugger"):
            continue
        browser.events.append({"known": target["sessionId"]})
        browser._session = target["sessionId"]
        is_worker = target["targetInfo"]["type"] == "worker"
        for method in (*(["Network.enable", "Runtime.enable"] if is_worker else []), "Runtime.runIfWaitingForDebugger"):
            browser.send(method)
    browser._session = own


def wait_until(browser: Browser, script: str) -> None:
    """Like `wait_for`, with workers let go on as they come."""
    for _ in range(2000):
        follow_workers(browser)
        if browser.evaluate(f"new Promise(go => setTimeout(() => go(!!({script})), 50))"):
            return
    pytest.fail(f"never became true: {script}; the page says {browser.evaluate('document.body.innerText')}")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small stereo model."""
    place = tmp_path_factory.mktemp("web")
    return give_away(fitted_network(place, channels=2, image_bands=6), place / "model")


@pytest.fixture(scope="module")
def page(model: Path) -> Path:
    """Its page, with weights as they are, so that it can be held against Python."""
    if find_chromium() is None:
        pytest.skip("there is no Chromium on this machine")
    options = parse_arguments(["--checkpoints", str(model), "--to", "web", "--output", str(model.parent / "page")])
    options.precision = "full"
    try:
        export(options)
    except ConfigError as error:
        if "npm" not in str(error):
            raise
        pytest.skip(f"onnxruntime-web cannot be had here: {error}")
    return model.parent / "page"


@pytest.fixture(scope="module")
def browser(page: Path) -> Iterator[Browser]:
    """A browser that shows it, and reaches this host alone."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=page))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    program = find_chromium()
    assert program is not None
    with chromium(program, page.parent / "profile") as browser:
        browser.open(f"http://127.0.0.1:{server.server_port}/index.html")
        browser.send("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)
        browser.wait_for("!document.getElementById('play').disabled")
        yield browser
    server.shutdown()


def text(browser: Browser, name: str) -> str:
    return browser.evaluate(f"document.getElementById('{name}').textContent")


@pytest.mark.parametrize("seed", [0, 23])
def test_a_seed_is_the_same_music_in_the_browser_and_in_python(browser: Browser, model: Path, seed: int) -> None:
    made = np.array(browser.evaluate(COMPOSED.replace("SEED", str(seed))))
    composer = Composer(load_generator(model), Sampling(seed=seed, phase_iterations=PHASE_ITERATIONS))
    wanted = composer.read(composer.start(), made.shape[1])[1].numpy()
    assert made.shape[1] > composer.generator.latent_seq_len * composer.generator.hop_samples
    difference = np.sqrt(np.square(made - wanted).mean() / np.square(wanted).mean())
    print(f"root mean square of the difference over that of the music: {difference:.1e}")
    assert difference < 1e-2
    assert np.sqrt(np.square(wanted).mean()) > 0.01


def test_it_plays_by_keyboard_alone_and_gives_what_was_heard_as_a_file(browser: Browser, page: Path) -> None:
    downloads = page.parent / "downloads"
    browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
    while browser.evaluate("document.activeElement.id") != "play":
        browser.press(*TAB)
    browser.press(*ENTER)
    wait_until(browser, "Number(document.getElementById('heard').textContent.split(':')[1]) >= 3")
    assert text(browser, "play-text") == "Stop"
    assert text(browser, "status") == "Playing"
    assert float(text(browser, "speed").split()[0]) > 0.0
    browser.press(*TAB)
    browser.press(*ENTER)  # the next piece
    assert browser.evaluate("document.getElementById('seed').value") == "1"
    wait_until(browser, "Number(document.getElementById('heard').textContent.split(':')[1]) >= 5")
    browser.evaluate("document.getElementById('save').focus()")
    browser.press(*ENTER)
    wait_until(browser, "true")
    browser.evaluate("document.getElementById('play').focus()")
    browser.press(*ENTER)
    wait_until(browser, "document.getElementById('status').textContent === 'Stopped'")
    heard = downloads / "musigan-seed-1.wav"
    for _ in range(400):
        if heard.is_file() and heard.stat().st_size > 44:
            break
        wait_until(browser, "true")
    sound, rate = soundfile.read(heard)
    assert (rate, sound.shape[1]) == (8000, 2)
    assert 4.5 * rate < len(sound) < 60 * rate
    assert 0.01 < np.sqrt(np.square(sound).mean()) < 0.5
    with soundfile.SoundFile(heard) as file:
        assert "Composed by MusiGAN (AI)" in file.comment


def test_nothing_is_asked_of_another_host_and_nothing_goes_wrong(browser: Browser) -> None:
    wait_until(browser, "document.getElementById('heard').textContent !== '0:00'")  # the worker has loaded all
    asked = {
        event["params"]["request"]["url"]
        for event in browser.events
        if event.get("method") == "Network.requestWillBeSent"
    }
    own = browser.evaluate("location.origin") + "/"
    names = {url.removeprefix(own) for url in asked}
    assert {"index.html", "worker.js", "ort.mjs", "ort.wasm", "endpoint.onnx", "decoder.onnx", "model.json"} <= names
    assert [url for url in asked if not url.startswith((own, "data:", "blob:"))] == []
    wrong = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
    assert [event for event in browser.events if event.get("method") in wrong] == []


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_every_screen(browser: Browser, width: int, is_dark: bool) -> None:
    browser.set_width(width, is_dark=is_dark)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    small = """[...document.querySelectorAll("button, input, select")]
      .filter(control => control.getBoundingClientRect().height < 40).map(control => control.id)"""
    assert browser.evaluate(small) == []


def test_colours_can_be_told_apart_in_both_schemes(browser: Browser) -> None:
    ratio = """(() => {
      const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(n => n / 255)
        .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
      const paper = getComputedStyle(document.body).backgroundColor;
      const play = getComputedStyle(document.getElementById("play"));
      return [...document.querySelectorAll("h1, p, dt, dd, label, select")]
        .map(part => contrast(getComputedStyle(part).color, paper))
        .concat(contrast(play.color, play.backgroundColor)); })()"""
    for is_dark in (False, True):
        browser.set_width(1280, is_dark=is_dark)
        assert min(browser.evaluate(ratio)) >= 4.5


def test_every_control_has_a_name_for_who_does_not_see_it(browser: Browser) -> None:
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    controls = [
        node for node in nodes if node["role"]["value"] in ("button", "spinbutton", "slider", "combobox", "meter")
    ]
    names = {node["name"]["value"] for node in controls}
    assert len(controls) == 7
    assert {"Next piece", "Seed", "Volume", "Steps", "Composed ahead"} <= names
    assert "" not in names
    assert [node for node in nodes if node["role"]["value"] == "status"]


def test_nothing_moves_for_who_wants_no_motion(browser: Browser) -> None:
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    moving = """[...document.querySelectorAll("*")].filter(part => getComputedStyle(part).transitionDuration !== "0s"
      || getComputedStyle(part).animationName !== "none").length"""
    assert browser.evaluate(moving) == 0


def test_a_folder_that_is_no_runtime_is_named(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--checkpoints", str(model), "--to", "web", "--output", str(tmp_path / "page"), "--runtime"]
    assert main([*words, str(tmp_path)]) == 2
    assert "is no unpacked onnxruntime-web" in capsys.readouterr().err
    (tmp_path / "dist").mkdir()
    for name in web_runtime.FILES:
        (tmp_path / "dist" / name).write_bytes(b"")
    (tmp_path / "package.json").write_text('{"name": "other"}', encoding="utf-8")
    assert main([*words, str(tmp_path)]) == 2
    assert "another package" in capsys.readouterr().err
    (tmp_path / "package.json").write_text('{"name": "onnxruntime-web", "version": "1.2.3"}', encoding="utf-8")
    assert read_package(tmp_path).keys() == {"ort.mjs", "ort.wasm", web_runtime.LICENCE_NAME}
    assert b"1.2.3" in read_package(tmp_path)[web_runtime.LICENCE_NAME]


def npm_that(does: str, place: Path) -> None:
    """A program of npm's name."""
    place.mkdir()
    (place / "npm").write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
    (place / "npm").chmod(0o755)


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("", "there is no npm"),
        ("echo no such network >&2; exit 1", "no such network"),
        ('echo other > "$4/onnxruntime-web-1.30.0.tgz"', "another onnxruntime-web"),
    ],
)
def test_what_npm_does_wrong_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, said: str) -> None:
    npm_that(does, tmp_path / "bin") if does else (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin" if does else str(tmp_path / "bin"))
    (tmp_path / "place").mkdir()
    with pytest.raises(ConfigError, match=said) as raised:
        web_runtime.download(tmp_path / "place")
    assert "--runtime" in str(raised.value)
