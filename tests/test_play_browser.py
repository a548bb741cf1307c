"""The page of `musigan play` in a real browser, in front of the real server and a small real model."""

import contextlib
import json
import math
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser, chromium, find_chromium
from play_address import Played, played
from report_run import make_run
from starlette.exceptions import HTTPException

from piano.play.access import LOOPBACK
from piano.play.server import Page

PHONE, DESKTOP = (390, 844), (1280, 800)
VIEWS = ("radio", "yours", "takes", "blind", "runs")
SPACE, TAB, ENTER, ESCAPE = (" ", 32), ("Tab", 9), ("Enter", 13), ("Escape", 27)
RIGHT, DOWN = ("ArrowRight", 39), ("ArrowDown", 40)
VISIBLE = "(part => part.checkVisibility({visibilityProperty: true, contentVisibilityAuto: true}))"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """A server of a small model, with two runs to watch."""
    if find_chromium() is None:
        pytest.skip("there is no Chromium on this machine")
    folder = tmp_path_factory.mktemp("play")
    with played(folder, runs={day: make_run(folder / day) for day in ("monday", "tuesday")}) as server:
        yield server


@pytest.fixture(scope="module")
def page(server: Played, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The page, open in a browser that has a microphone which beeps."""
    profile = tmp_path_factory.mktemp("profile")
    with chromium(str(find_chromium()), profile, "--use-fake-device-for-media-stream") as browser:
        browser.open(f"{server.address}/#radio?seed=7")
        for name in ("microphone", "audioCapture"):
            try:
                grant(browser, server, name, "granted")
                break
            except AssertionError:
                continue
        browser.set_width(*DESKTOP[:1], height=DESKTOP[1])
        browser.wait_for("document.querySelector('#model').value !== ''")
        yield browser


def grant(browser: Browser, server: Played, name: str, setting: str) -> None:
    """Let the page have something, or not."""
    browser.send("Browser.setPermission", permission={"name": name}, setting=setting, origin=server.address)


def told(page: Browser, path: str) -> Any:
    """A value of the page's state."""
    return page.evaluate(f"import('/page/state.js').then(module => module.state.{path})")


def until(page: Browser, condition: str) -> None:
    """Wait until something holds in the page's state."""
    page.wait_for(f"import('/page/state.js').then(({{state}}) => Boolean({condition}))")


def text(page: Browser, selector: str) -> str:
    return page.evaluate(f"document.querySelector({selector!r}).textContent")


def click(page: Browser, selector: str) -> None:
    """Click with a mouse in the middle of an element."""
    box = page.evaluate(
        f"(() => {{ const part = document.querySelector({selector!r}); part.scrollIntoView({{block: 'center'}});"
        " const box = part.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )
    touch(page, *box)


def touch(page: Browser, x: float, y: float) -> None:
    for kind in ("mousePressed", "mouseReleased"):
        page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def key(page: Browser, letter: str) -> None:
    """Press a key that writes."""
    for kind in ("keyDown", "keyUp"):
        page.send("Input.dispatchKeyEvent", type=kind, key=letter, text=letter, code=f"Key{letter.upper()}")


def show(page: Browser, view: str) -> None:
    page.evaluate(f"location.hash = '#{view}'")
    page.wait_for(f"!document.querySelector('#view-{view}').hidden")


def start(page: Browser) -> None:
    """Play the radio, if it does not."""
    show(page, "radio")
    if told(page, "phase") == "stopped":
        click(page, "#play")
    until(page, "state.phase === 'playing'")


# The ring, alone and exactly.

RING = """(async (steps, seconds, rate) => {
  const context = new OfflineAudioContext(1, seconds * rate, rate);
  await context.audioWorklet.addModule("/page/ring_worklet.js");
  const node = new AudioWorkletNode(context, "ring", {numberOfInputs: 0, outputChannelCount: [1],
    processorOptions: {sourceRate: rate, channels: 1}});
  node.connect(context.destination);
  const reports = [];
  node.port.onmessage = ({data}) => reports.push(data);
  const wait = milliseconds => new Promise(go => setTimeout(go, milliseconds));
  const tone = ({sample, count, height, period}) => ({sample, channels: [Float32Array.from({length: count},
    (_, index) => height * (period ? Math.sin(2 * Math.PI * (sample + index) / period) : 1))]});
  for (const at of new Set(steps.map(step => step.at))) {
    const send = () => steps.filter(step => step.at === at)
      .forEach(({message}) => node.port.postMessage(message.count ? tone(message) : message));
    if (at === 0) send();
    else context.suspend(at).then(async () => { send(); await wait(30); context.resume(); });
  }
  await wait(30);
  const sound = (await context.startRendering()).getChannelData(0);
  await wait(60);
  return {sound: [...sound], reports};
})"""


def ring(page: Browser, *steps: tuple[float, dict[str, Any]], seconds: float = 3.0) -> tuple[np.ndarray, list[Any]]:
    """What the worklet plays when it is told something at certain moments (8000 samples a second)."""
    messages = [{"at": at, "message": message} for at, message in steps]
    answer = page.evaluate(f"{RING}({json.dumps(messages)}, {seconds}, 8000)")
    return np.array(answer["sound"]), answer["reports"]


def test_the_ring_plays_every_sample_once_and_in_order(page: Browser) -> None:
    sound, reports = ring(
        page,
        (0, {"sample": 0, "count": 2000, "height": 0.5, "period": 80}),
        (0, {"sample": 2000, "count": 18000, "height": 0.5, "period": 80}),
        seconds=2.0,
    )
    begin = 40  # it fades in over 5 ms
    expected = 0.5 * np.sin(2 * math.pi * np.arange(sound.size) / 80)
    lag = int(np.argmax(np.abs(sound) > 0)) - 1
    assert lag < 400
    assert np.allclose(sound[lag + begin :], expected[begin : sound.size - lag], atol=1e-5)
    assert reports[-1]["underruns"] == 0 and reports[-1]["played"] > 1.8 * 8000
    assert reports[-1]["peak"] == pytest.approx(0.5, abs=0.01)


def test_the_ring_waits_for_three_tenths_of_a_second(page: Browser) -> None:
    sound, reports = ring(
        page,
        (0, {"sample": 0, "count": 2300, "height": 0.5, "period": 80}),
        (0.512, {"sample": 2300, "count": 8000, "height": 0.5, "period": 80}),
        seconds=1.0,
    )
    assert not sound[: int(0.51 * 8000)].any()
    assert np.abs(sound[int(0.53 * 8000) :]).max() > 0.45
    assert reports[-1]["underruns"] == 0


def test_an_empty_ring_fades_counts_once_and_goes_on_where_it_was(page: Browser) -> None:
    sound, reports = ring(
        page,
        (0, {"sample": 0, "count": 8000, "height": 0.5}),
        (2.048, {"sample": 8000, "count": 8000, "height": 0.5}),
    )
    assert reports[-1]["underruns"] == 1
    steps = np.abs(np.diff(sound))
    assert steps.max() <= 0.5 / 40 + 1e-6  # 5 ms from full to nothing: no click
    silent = np.flatnonzero(np.abs(sound[4000:]) < 1e-9) + 4000
    assert silent.size > 0.9 * 8000  # nothing is heard twice or made up meanwhile
    assert np.abs(sound[-1000:]).min() > 0.49


def test_what_is_void_is_replaced_at_its_sample_and_reported_when_heard(page: Browser) -> None:
    sound, reports = ring(
        page,
        (0, {"sample": 0, "count": 24000, "height": 0.5}),
        (0.512, {"void": 3, "from": 8000}),
        (0.512, {"sample": 8000, "count": 16000, "height": 0.25}),
        seconds=2.0,
    )
    change = int(np.argmax(sound[4000:] < 0.4)) + 4000
    assert 8000 <= change <= 8000 + 400  # as late as the ring began
    assert np.all(sound[change + 1 : change + 4000] == 0.25)
    heard = [mark for report in reports for mark in report["heard"]]
    assert [mark["id"] for mark in heard] == [3]
    assert heard[0]["time"] == pytest.approx(change / 8000, abs=0.02)


def test_a_late_replacement_leaves_no_hole_and_does_not_click(page: Browser) -> None:
    sound, reports = ring(
        page,
        (0, {"sample": 0, "count": 24000, "height": 0.5}),
        (0.512, {"void": 1, "from": 4800}),
        (1.024, {"sample": 4800, "count": 16000, "height": -0.4}),
        seconds=2.0,
    )
    assert sound[500:8000].min() == pytest.approx(0.5)  # the old goes on until the new is here
    assert np.all(sound[8600:15000] == pytest.approx(-0.4))
    assert np.abs(np.diff(sound)).max() <= 0.9 / 40 + 1e-6
    assert reports[-1]["underruns"] == 0


def test_a_newer_move_makes_an_older_one_that_was_never_heard_silent(page: Browser) -> None:
    _, reports = ring(
        page,
        (0, {"sample": 0, "count": 24000, "height": 0.5}),
        (0.512, {"void": 1, "from": 8000}),
        (0.512, {"void": 2, "from": 9000}),
        (0.512, {"sample": 9000, "count": 9000, "height": 0.2}),
        seconds=2.0,
    )
    assert [mark["id"] for report in reports for mark in report["heard"]] == [2]


def test_the_ring_falls_silent_without_a_click_and_without_counting_a_gap(page: Browser) -> None:
    sound, reports = ring(page, (0, {"sample": 0, "count": 24000, "height": 0.5}), (1.024, {"fade": True}), seconds=2.0)
    assert np.abs(np.diff(sound)).max() <= 0.5 / 40 + 1e-6
    assert not sound[int(1.05 * 8000) :].any()
    assert reports[-1]["underruns"] == 0 and reports[-1]["isSilent"]


# The radio.


def test_play_is_heard_and_the_readout_says_how(page: Browser) -> None:
    start(page)
    before = told(page, "meters.played")
    page.wait_for(f"import('/page/state.js').then(({{state}}) => state.meters.played > {before} + state.radio.rate)")
    until(page, "state.meters.peak > 0.001 && state.meters.listeners >= 1")
    assert told(page, "meters.ahead") > 0
    assert text(page, "#m-ahead").endswith(" s") and text(page, "#m-gaps").isdigit()
    assert text(page, "#m-listeners").isdigit()
    assert page.evaluate("document.querySelector('#play').getAttribute('aria-label')") == "Stop"
    page.wait_for("document.querySelector('#keep').disabled === false")


def test_the_record_is_drawn(page: Browser) -> None:
    start(page)
    colours = """(() => { const canvas = document.querySelector("#disc"), size = canvas.width;
      const pixels = canvas.getContext("2d").getImageData(0, 0, size, size).data;
      return new Set(new Uint32Array(pixels.buffer)).size; })()"""
    page.wait_for(f"{colours} > 100")


def test_a_move_is_heard_and_its_delay_is_shown(page: Browser, capsys: pytest.CaptureFixture[str]) -> None:
    start(page)
    page.evaluate("document.querySelector('#surprise').focus()")
    before = told(page, "program.surprise")
    page.press(*RIGHT)
    assert told(page, "program.surprise") == pytest.approx(before + 0.05)
    until(page, "state.meters.delay !== null")
    page.wait_for("document.querySelector('#m-delay').textContent.endsWith(' ms')")
    with capsys.disabled():
        print(f"\ncontrol to ear: {told(page, 'meters.delay'):.0f} ms", file=sys.stderr)
    assert told(page, "meters.delay") > 0


def test_next_is_another_piece_and_the_address_remembers_it(page: Browser) -> None:
    start(page)
    page.evaluate("document.activeElement.blur()")
    key(page, "n")
    assert told(page, "program.piece") == 1
    assert text(page, "#piece-name") == "piece 2"
    assert "seed=7" in page.evaluate("location.hash") and "piece=1" in page.evaluate("location.hash")
    until(page, "state.pieceBegan > 0 && state.meters.position > state.pieceBegan")
    click(page, "#next")
    assert told(page, "program.piece") == 2


def test_a_link_means_the_same_piece(page: Browser) -> None:
    page.evaluate("location.hash = '#radio?seed=12&piece=4&surprise=0.5&near=3'")
    page.wait_for("document.querySelector('#seed').value === '12'")
    assert told(page, "program.piece") == 4
    assert (told(page, "styleMode"), told(page, "near")) == ("near", 3)
    assert page.evaluate("document.querySelector('#surprise').value") == "0.5"
    page.evaluate("location.hash = '#radio?seed=7'")
    page.wait_for("document.querySelector('#seed').value === '7'")
    assert told(page, "styleMode") == "free"


def test_the_way_back_to_the_radio_keeps_the_piece_in_the_address(page: Browser) -> None:
    page.evaluate("location.hash = '#radio?seed=12&piece=4'")
    page.wait_for("document.querySelector('#seed').value === '12'")
    for view in ("takes", "radio"):
        click(page, f"nav a[data-view={view}]")
        page.wait_for(f"!document.querySelector('#view-{view}').hidden")
    page.wait_for("location.hash.includes('seed=12') && location.hash.includes('piece=4')")
    page.evaluate("location.hash = '#radio?seed=7'")
    page.wait_for("document.querySelector('#seed').value === '7'")


def test_a_link_to_another_model_plays_that_model(page: Browser, server: Played) -> None:
    start(page)
    for name in ("second", "first"):
        page.evaluate(f"location.hash = '#radio?model={name}&seed=7'")
        until(page, f"state.model === {name!r} && state.phase === 'playing'")
        assert [work.name for work in server.place.radios.values()] == [name]


def test_the_skip_link_leads_to_the_view_that_is_shown(page: Browser) -> None:
    show(page, "takes")
    address = page.evaluate("location.href")
    page.evaluate("document.querySelector('.skip').focus()")
    page.press(*ENTER)
    page.wait_for("document.activeElement.id === 'main'")
    assert told(page, "view") == "takes" and page.evaluate("location.href") == address
    page.evaluate("location.hash = '#main'")
    page.wait_for("location.hash === '#main'")
    assert told(page, "view") == "takes"


def test_a_seed_can_be_typed(page: Browser) -> None:
    show(page, "radio")
    click(page, "#seed")
    page.evaluate("document.querySelector('#seed').select()")
    page.send("Input.insertText", text="41x")
    assert told(page, "program.seed") == 41
    page.press(*ENTER)
    assert "seed=41" in page.evaluate("location.hash")


def test_the_map_is_played_with_a_finger_and_with_arrows(page: Browser) -> None:
    start(page)
    until(page, "state.styles")
    count = told(page, "styles.points.length")
    assert count > 10
    click(page, "#map")
    near = told(page, "near")
    assert told(page, "styleMode") == "near" and 0 <= near < count
    spoken = "document.querySelector('#map').getAttribute('aria-valuetext')"
    assert page.evaluate(spoken).startswith(f"style {near + 1}")
    page.evaluate("document.querySelector('#map').focus()")
    page.press(*RIGHT)
    page.press(*DOWN)
    assert told(page, "near") != near
    assert f"near={told(page, 'near')}" in page.evaluate("location.hash")


def test_two_poles_are_blended(page: Browser) -> None:
    start(page)
    page.evaluate("document.querySelector('[name=style-mode][value=between]').click()")
    first, second = told(page, "poles")
    assert first != second
    click(page, "#pole-b")
    page.evaluate("document.querySelector('#map').focus()")
    page.press(*RIGHT)
    assert told(page, "poles")[0] == first and told(page, "poles")[1] != second
    page.evaluate("document.querySelector('#blend').focus()")
    page.press(*RIGHT)
    assert told(page, "program.blend") == pytest.approx(0.51)
    assert text(page, "#style-value") == "51 % B"
    page.evaluate("document.querySelector('[name=style-mode][value=free]').click()")
    assert told(page, "styleMode") == "free"


def test_the_style_can_wander(page: Browser) -> None:
    show(page, "radio")
    page.evaluate("document.querySelector('[name=wander][value=\"30\"]').click()")
    assert told(page, "program.wander_seconds") == 30
    page.evaluate("document.querySelector('[name=wander][value=\"0\"]').click()")


def test_space_stops_and_plays(page: Browser) -> None:
    start(page)
    page.evaluate("document.activeElement.blur()")
    key(page, " ")
    until(page, "state.phase === 'stopped'")
    key(page, " ")
    until(page, "state.phase === 'playing'")


def test_the_sound_goes_on_behind_another_tab(page: Browser) -> None:
    start(page)
    other = page.send("Target.createTarget", url="about:blank")["targetId"]
    try:
        page.send("Target.activateTarget", targetId=other)
        before = told(page, "meters.played")
        page.wait_for(
            f"import('/page/state.js').then(({{state}}) => state.meters.played > {before} + state.radio.rate)"
        )
    finally:
        page.send("Target.closeTarget", targetId=other)


def test_what_was_heard_is_kept(page: Browser) -> None:
    start(page)
    rate = told(page, "radio.rate")
    until(page, f"state.meters.position > {3 * rate}")
    before = len(told(page, "takes"))
    click(page, "#keep")
    until(page, f"state.takes.length === {before + 1}")
    take = told(page, "takes")[0]
    assert take["kind"] == "radio" and take["seconds"] >= 2.5 and take["receipt"]
    assert max(take["peaks"]) > 0
    assert text(page, ".toast").startswith(f"Kept: {take['seconds']:.0f} s.")
    click(page, ".toast button")
    page.wait_for(
        "!document.querySelector('#view-takes').hidden && document.querySelectorAll('#take-list .take').length"
    )


def test_a_piece_that_is_longer_than_what_is_held_is_kept_in_part_and_says_so(page: Browser, server: Played) -> None:
    start(page)
    limits = server.place.limits
    server.place.limits = limits._replace(kept_seconds=1.0)
    try:
        click(page, "#play")
        until(page, "state.phase === 'stopped'")
        start(page)
        until(page, "state.meters.position > 9 * state.radio.rate")
        before = len(told(page, "takes"))
        click(page, "#keep-piece")
        until(page, f"state.takes.length === {before + 1}")
        seconds = told(page, "takes")[0]["seconds"]
        page.wait_for(f"document.querySelector('.toast').textContent.startsWith('Kept the last {seconds:.0f} s:')")
        assert seconds < 7.5
    finally:
        server.place.limits = limits
        click(page, "#play")
    until(page, "state.phase === 'stopped'")


def test_the_radio_can_be_stopped_from_another_view(page: Browser) -> None:
    start(page)
    show(page, "takes")
    page.wait_for("!document.querySelector('#dock').hidden")
    assert text(page, "#dock-name") == "Radio"
    click(page, "#dock-play")
    until(page, "state.phase === 'stopped'")


# Sounds of one's own.


def choose_file(page: Browser, path: Path) -> None:
    root = page.send("DOM.getDocument")["root"]["nodeId"]
    node = page.send("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    page.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


def make_of(page: Browser, kind: str) -> dict[str, Any]:
    """Make one sound as chosen, as short as can be; the take."""
    known = {take["id"] for take in told(page, "takes")}
    page.evaluate(f"document.querySelector('[name=kind][value={kind}]').click()")
    for name, value in (("length", 5), ("count", 1)):
        page.evaluate(
            f"(() => {{ const range = document.querySelector('#{name}'); range.value = {value};"
            " range.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )
    click(page, "#make-go")
    until(page, f"state.takes.some(({{id}}) => !{json.dumps(sorted(known))}.includes(id))")
    return next(take for take in told(page, "takes") if take["id"] not in known)


def test_a_song_is_continued_varied_and_imitated(page: Browser, server: Played) -> None:
    show(page, "yours")
    assert page.evaluate("document.querySelector('#make-go').disabled")
    assert text(page, "#make-note") == "Give it a sound first."
    choose_file(page, server.song)
    until(page, "state.source")
    assert server.song.stem in told(page, "source.name")
    assert "seconds" in text(page, "#yours-note")
    for kind in ("continue", "vary", "like"):
        take = make_of(page, kind)
        assert take["kind"] == kind and take["seconds"] > 1
    page.wait_for("document.querySelectorAll('#made .take').length >= 3")
    click(page, "#made .take button.round")
    page.wait_for("!document.querySelector('#dock').hidden")
    until(page, "state.playing && state.playing.at > 0.2 && !state.playing.isPaused")
    click(page, "#dock-play")
    until(page, "state.playing.isPaused")
    click(page, "#dock-close")
    page.wait_for("document.querySelector('#dock').hidden")


def test_a_part_of_a_song_is_filled_and_a_loop_needs_none(page: Browser, server: Played) -> None:
    show(page, "yours")
    choose_file(page, server.song)
    until(page, "state.source")
    page.evaluate("document.querySelector('[name=kind][value=fill]').click()")
    assert page.evaluate(
        "!document.querySelector('#part-control').hidden && document.querySelector('#length-control').hidden"
    )
    take = make_of(page, "fill")
    assert take["kind"] == "fill"
    page.evaluate(
        "(() => { const bars = document.querySelector('#bars'); bars.value = 1;"
        " bars.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    assert text(page, "#bars-value") == "1"
    take = make_of(page, "loop")
    assert take["kind"] == "loop" and take["seconds"] == pytest.approx(240 / 100)
    page.wait_for("document.querySelectorAll('#made .take').length >= 2")
    click(page, "#made .take button.round")
    until(page, "state.playing && state.playing.goesRound")
    click(page, "#dock-close")


def test_new_music_is_asked_for_a_key_a_tempo_and_surprise(page: Browser, server: Played) -> None:
    show(page, "yours")
    page.evaluate("document.querySelector('[name=kind][value=new]').click()")
    shown = "!document.querySelector('#{}-control').hidden"
    assert all(page.evaluate(shown.format(name)) for name in ("key", "surprise", "at-tempo", "meter"))
    assert not page.evaluate(shown.format("tempo"))
    page.evaluate("document.querySelector('#at-tempo').click()")
    assert page.evaluate(shown.format("tempo"))
    page.evaluate(
        "(() => { document.querySelector('#key').value = 'D minor'; document.querySelector('#meter').value = '7/8';"
        " for (const [id, value] of [['tempo', 120], ['surprise', 0.5]]) {"
        " const range = document.querySelector(`#${id}`); range.value = value;"
        " range.dispatchEvent(new Event('input', {bubbles: true})); } })()"
    )
    assert (text(page, "#tempo-value"), text(page, "#surprise-value")) == ("120", "0.5")
    take = make_of(page, "new")
    says = take["receipt"]
    assert (says["key"], says["tempo"], says["surprise"], says["meter"]) == ("D minor", 120.0, 0.5, "7/8")
    page.evaluate("document.querySelector('[name=kind][value=vary]').click()")
    assert not any(page.evaluate(shown.format(name)) for name in ("key", "surprise", "at-tempo", "tempo", "meter"))


def test_a_tempo_that_is_heard_as_another_is_said_on_the_page(page: Browser, server: Played) -> None:
    show(page, "yours")
    page.evaluate("document.querySelector('[name=kind][value=new]').click()")
    page.evaluate("document.querySelector('#at-tempo').checked || document.querySelector('#at-tempo').click()")
    page.evaluate(
        "(() => { for (const id of ['key', 'meter']) document.querySelector(`#${id}`).value = '';"
        " const range = document.querySelector('#tempo'); range.value = 45;"
        " range.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    make_of(page, "new")
    assert "a beat of 45 a minute is made, and mostly heard, as one of 90" in text(page, "#make-note")
    page.evaluate("document.querySelector('#at-tempo').click()")


def test_a_broken_file_is_a_sentence(page: Browser, server: Played, tmp_path: Path) -> None:
    show(page, "yours")
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"not music at all" * 100)
    choose_file(page, broken)
    page.wait_for("document.querySelector('#yours-note').textContent.endsWith('.')")
    said = text(page, "#yours-note")
    assert "broken" in said and "Traceback" not in said and str(tmp_path) not in said


def test_ten_seconds_are_recorded(page: Browser, server: Played) -> None:
    show(page, "yours")
    before = len(told(page, "uploads"))
    click(page, "#record")
    page.wait_for("document.querySelector('#level').value > 0.01")
    assert text(page, "#record") == "Stop here"
    page.wait_for("parseInt(document.querySelector('#record-time').textContent) <= 8")
    click(page, "#record")
    until(page, f"state.uploads.length === {before + 1}")
    (sound,) = [sound for sound in told(page, "uploads") if "recorded" in sound["name"]]
    assert 1 < sound["seconds"] < 8


def test_a_recording_can_be_stopped_before_the_microphone_opens(page: Browser) -> None:
    show(page, "yours")
    before = told(page, "uploads.length")
    page.evaluate(
        """(() => { const media = navigator.mediaDevices, real = media.getUserMedia.bind(media);
        media.getUserMedia = async (...asked) => {
          await new Promise(go => (window.letGo = go)); delete media.getUserMedia; return real(...asked); }; })()"""
    )
    click(page, "#record")
    assert text(page, "#record") == "Stop here"
    click(page, "#record")
    page.evaluate("letGo()")
    page.wait_for("document.querySelector('#record').textContent === 'Record ten seconds'")
    assert "shorter than a second" in text(page, "#yours-note") and told(page, "uploads.length") == before


def test_a_refused_microphone_is_a_sentence(page: Browser, server: Played) -> None:
    show(page, "yours")
    grant(page, server, "microphone", "denied")
    click(page, "#record")
    page.wait_for("document.querySelector('#yours-note').textContent.includes('refused')")
    assert text(page, "#record") == "Record ten seconds"
    grant(page, server, "microphone", "granted")


# Takes.


def test_a_take_is_named_starred_shown_deleted_and_brought_back(page: Browser) -> None:
    show(page, "takes")
    until(page, "state.takes && state.takes.length")
    first = told(page, "takes")[0]["id"]
    card = f"#take-list .take[data-id={json.dumps(first)}]"
    page.evaluate(
        f"(() => {{ const name = document.querySelector({(card + ' .name')!r}); name.value = 'A fine one';"
        " name.dispatchEvent(new Event('change')); })()"
    )
    until(page, f"state.takes.find(({{id}}) => id === {first!r}).name === 'A fine one'")
    click(page, f"{card} .star")
    until(page, f"state.takes.find(({{id}}) => id === {first!r}).is_favourite")
    click(page, "#only-favourites")
    assert page.evaluate("document.querySelectorAll('#take-list .take').length") == 1
    click(page, "#only-favourites")
    click(page, f"{card} .open-more")
    assert page.evaluate(f"document.querySelectorAll({(card + ' .receipt tr')!r}).length") >= 3
    found = page.evaluate(
        f"fetch(document.querySelector({(card + ' a[download]')!r}).href, {{cache: 'no-store'}}).then(answer =>"
        " [answer.status, answer.headers.get('content-disposition')])"
    )
    assert found[0] == 200 and "filename" in found[1]
    click(page, f"{card} .panel button:last-child")
    until(page, f"!state.takes.some(({{id}}) => id === {first!r})")
    click(page, ".toast button")
    until(page, f"state.takes.some(({{id}}) => id === {first!r})")


def test_a_take_becomes_a_source_and_a_style(page: Browser) -> None:
    show(page, "takes")
    until(page, "state.takes && state.takes.length")
    first = told(page, "takes")[0]
    card = f"#take-list .take[data-id={json.dumps(first['id'])}]"
    if page.evaluate(f"document.querySelector({(card + ' .open-more')!r}).ariaExpanded") == "false":
        click(page, f"{card} .open-more")
    click(page, f"{card} .panel button:nth-of-type(2)")
    page.wait_for("!document.querySelector('#view-yours').hidden")
    assert told(page, "source.id") == first["id"] and told(page, "kind") == "vary"
    show(page, "takes")
    if page.evaluate(f"document.querySelector({(card + ' .open-more')!r}).ariaExpanded") == "false":
        click(page, f"{card} .open-more")
    click(page, f"{card} .panel button:nth-of-type(4)")
    until(page, "state.view === 'radio' && state.phase !== 'waiting'")
    assert (told(page, "phase"), told(page, "sentence")) == ("playing", "")
    assert told(page, "poles")[0]["id"] == first["id"]
    page.evaluate("document.querySelector('[name=style-mode][value=free]').click()")
    click(page, "#play")


# The blind test.


def test_a_vote_counts_after_seconds_of_each_and_the_tally_has_an_interval(page: Browser) -> None:
    show(page, "blind")
    page.wait_for("document.querySelector('#blind-a').options.length > 0")
    click(page, "#blind-form button")
    page.wait_for("!document.querySelector('#blind-game').hidden")
    assert page.evaluate("[...document.querySelectorAll('.votes button')].every(button => button.disabled)")
    assert text(page, "#blind-wait") == "To vote, hear 3 s more of the left one, 3 s more of the right one."
    page.evaluate("document.activeElement.blur()")
    for letter, side in (("l", "left"), ("r", "right")):
        key(page, letter)
        page.wait_for(f"document.querySelector('#{side}').getAttribute('aria-pressed') === 'true'")
        page.wait_for(f"parseInt(document.querySelector('#{side} .heard').textContent) >= 3")
    page.wait_for("!document.querySelector('.votes button').disabled")
    click(page, ".votes [data-choice=left]")
    page.wait_for("document.querySelector('#blind-told').textContent.startsWith('Left was')")
    page.wait_for("document.querySelectorAll('.tally').length >= 1")
    assert "1 vote" in text(page, ".tally")


# Runs.


def test_a_run_is_shown_with_its_curves_and_its_sound(page: Browser) -> None:
    show(page, "runs")
    page.wait_for("document.querySelectorAll('.verdict').length === 1")
    assert text(page, ".verdict").endswith(".")
    assert page.evaluate("document.querySelectorAll('.plot path.line').length") >= 1
    shapes = page.evaluate(
        "[...document.querySelectorAll('.plot path.line')].map(path => path.getAttribute('d').length)"
    )
    assert min(shapes) > 10
    assert page.evaluate("document.querySelectorAll('.stages li').length") >= 2


def test_a_run_that_is_chosen_while_another_loads_is_shown(page: Browser) -> None:
    show(page, "radio")
    page.evaluate(
        """(() => { const real = window.fetch;
        window.held = new Promise(go => window.letGo = () => (window.fetch = real, go()));
        window.asked = null;
        window.fetch = async (path, ...more) => {
          if (window.asked || !/^\\/api\\/runs\\/[a-z]+$/.test(path)) return real(path, ...more);
          window.asked = path; await window.held; return real(path, ...more); }; })()"""
    )
    try:
        show(page, "runs")
        page.wait_for("window.asked !== null")
        first = page.evaluate("window.asked")
        second = "/api/runs/monday" if first.endswith("tuesday") else "/api/runs/tuesday"
        page.evaluate(
            f"(() => {{ const select = document.querySelector('#run'); select.value = {second.split('/')[-1]!r};"
            " select.dispatchEvent(new Event('change')); })()"
        )
    finally:
        page.evaluate("letGo()")
    page.wait_for(f"Boolean(document.querySelector('#run-body [data-url^=\"{second}/\"]'))")
    assert not page.evaluate(f"Boolean(document.querySelector('#run-body [data-url^=\"{first}/\"]'))")


# For everybody.


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_wider_than_a_phone_and_everything_is_large_enough_for_a_thumb(page: Browser, view: str) -> None:
    show(page, view)
    page.set_width(PHONE[0], height=PHONE[1])
    try:
        page.wait_for("innerWidth === 390")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        outside = f"""[...document.querySelectorAll("body *")].filter(part => {VISIBLE}(part)
          && !part.closest(".unseen, .skip") && part.getBoundingClientRect().right > innerWidth + 1)
          .map(part => part.outerHTML.slice(0, 80))"""
        assert page.evaluate(outside) == []
        small = f"""[...document.querySelectorAll("button, a, select, summary, input")].filter({VISIBLE})
          .map(part => ["radio", "checkbox", "file"].includes(part.type) ? part.closest("label") : part)
          .filter(part => {{ const box = part.getBoundingClientRect();
            return box.width && !part.matches(".skip, .name") && (box.height < 43.5 || box.width < 30); }})
          .map(part => part.outerHTML.slice(0, 90))"""
        assert page.evaluate(small) == []
    finally:
        page.set_width(DESKTOP[0], height=DESKTOP[1])


@pytest.mark.parametrize("view", VIEWS)
def test_the_keyboard_reaches_every_control_and_shows_where_it_is(page: Browser, view: str) -> None:
    show(page, view)
    wanted = page.evaluate(
        f"""[...document.querySelectorAll("a, button, input, select, [tabindex='0']")].filter(part => {VISIBLE}(part)
          && !part.disabled && (part.type !== "radio" || part.checked)
          && !(part.type === "radio" && !part.checked)).length"""
    )
    page.evaluate("(document.activeElement.blur(), getSelection().removeAllRanges(), scrollTo(0, 0))")
    look = """(() => { const part = document.activeElement;
      const shown = [part, part.nextElementSibling, part.closest(".sound, .wave")].filter(Boolean);
      const ring = shown.some(one => getComputedStyle(one).outlineStyle !== "none");
      return [part.id || part.outerHTML.slice(0, 60), ring || part.type === "range"]; })()"""
    reached = []
    for _ in range(wanted + 6):
        page.press(*TAB)
        reached.append(tuple(page.evaluate(look)))
    assert len({name for name, _ in reached}) >= min(wanted, 6)
    assert [name for name, has_ring in reached if not has_ring and not name.startswith("<body")] == []


@pytest.mark.parametrize("view", VIEWS)
def test_everything_has_a_name_for_a_screen_reader(page: Browser, view: str) -> None:
    show(page, view)
    nodes = [node for node in page.send("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "").strip()) for node in nodes]
    kinds = {"button", "slider", "link", "textbox", "combobox", "radio", "checkbox", "switch", "image", "progressbar"}
    controls = [(role, name) for role, name in named if role in kinds]
    assert len(controls) >= 6
    assert [role for role, name in controls if not name] == []
    roles = [role for role, _ in named]
    assert roles.count("main") == 1 and roles.count("navigation") == 1 and roles.count("banner") == 1
    assert [name for role, name in named if role == "heading"]


CONTRASTS = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = colour => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = colour => colour.slice(0, 3).map(value => value / 255)
    .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const under = part => { for (let one = part; one; one = one.parentElement) {
    const colour = rgba(getComputedStyle(one).backgroundColor); if (colour[3] === 255) return colour; }
    return [255, 255, 255, 255]; };
  const found = [];
  for (const part of document.querySelectorAll("body *")) {
    const words = [...part.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())
      || part.matches("input:not([type=range], [type=radio], [type=checkbox], [type=file])");
    const isShown = part.checkVisibility({visibilityProperty: true});
    if (!words || !isShown || part.closest(".unseen, .skip, noscript, option")) continue;
    const [a, b] = [light(rgba(getComputedStyle(part).color)), light(under(part))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), part.outerHTML.slice(0, 80)]);
  }
  return found;
})()"""  # WCAG 2.2, contrast ratio


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("view", VIEWS)
def test_text_stands_out_in_both_colours(page: Browser, view: str, is_dark: bool) -> None:
    show(page, view)
    page.set_width(DESKTOP[0], height=DESKTOP[1], is_dark=is_dark)
    page.wait_for(f"matchMedia('(prefers-color-scheme: dark)').matches === {str(is_dark).lower()}")
    page.evaluate("Promise.all(document.getAnimations().map(one => one.finished.catch(() => 0)))")
    found = page.evaluate(CONTRASTS)
    assert len(found) > 8
    assert [(round(ratio, 2), part) for ratio, part in found if ratio < 4.5] == []


def test_the_list_of_keys_opens_and_closes_by_key(page: Browser) -> None:
    show(page, "radio")
    page.evaluate("document.activeElement.blur()")
    key(page, "?")
    page.wait_for("document.querySelector('#shortcuts').open")
    page.press(*ESCAPE)
    page.wait_for("!document.querySelector('#shortcuts').open")
    for number, view in enumerate(VIEWS, start=1):
        key(page, str(number))
        page.wait_for(f"!document.querySelector('#view-{view}').hidden")


def test_with_less_motion_the_record_rests_between_seconds(page: Browser) -> None:
    start(page)
    page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    try:
        drawn = """(async () => { const canvas = document.querySelector("#disc"); const seen = [];
          for (let look = 0; look < 12; look++) {
            seen.push(canvas.toDataURL()); await new Promise(go => setTimeout(go, 100)); }
          return seen.filter((one, index) => index && one !== seen[index - 1]).length; })()"""
        assert page.evaluate(drawn) <= 3
    finally:
        page.set_width(DESKTOP[0], height=DESKTOP[1])


def test_nothing_is_fetched_from_elsewhere_and_nothing_goes_wrong(page: Browser, server: Played) -> None:
    for view in VIEWS:
        show(page, view)
    requests = [
        event["params"].get("url") or event["params"]["request"]["url"]
        for event in page.events
        if event.get("method") in ("Network.requestWillBeSent", "Network.webSocketCreated")
    ]
    assert len(requests) > 20
    ours = (server.address, server.address.replace("http", "ws", 1), "blob:", "about:blank")
    assert [url for url in requests if not url.startswith(ours)] == []
    wrong = [event for event in page.events if event.get("method") == "Runtime.exceptionThrown"]
    wrong += [
        event
        for event in page.events
        if event.get("method") == "Log.entryAdded"
        and event["params"]["entry"]["level"] == "error"
        and "/api/uploads" not in event["params"]["entry"].get("url", "")  # the broken file was refused on purpose
    ]
    assert wrong == []


@contextlib.contextmanager
def another(server: Played, profile: Path, *flags: str, name: str = "127.0.0.1") -> Iterator[Browser]:
    """The page in a browser of its own: nothing that goes wrong there is left for the other tests."""
    with chromium(str(find_chromium()), profile, *flags) as browser:
        browser.open(f"http://{name}:{server.port}/#radio?seed=7")
        browser.set_width(*DESKTOP[:1], height=DESKTOP[1])
        browser.wait_for("document.querySelector('#model').value !== ''")
        yield browser


def test_what_the_server_says_when_it_hangs_up_is_shown(page: Browser, server: Played) -> None:
    start(page)
    limits = server.place.limits
    server.place.limits = limits._replace(silent_seconds=-1.0)
    try:
        until(page, "state.phase === 'stopped'")
    finally:
        server.place.limits = limits
    assert told(page, "sentence") == "Nothing was heard from this page for a while. Press play to go on."
    start(page)


class Held:
    """Work before all other, that lasts until it is let go."""

    def __init__(self) -> None:
        self.is_held, self.let_go = threading.Event(), threading.Event()

    def urgency(self) -> float:
        return -1.0

    def step(self) -> None:
        self.is_held.set()
        assert self.let_go.wait(timeout=120.0)

    def fail(self, error: Exception) -> None:
        raise error


def test_a_new_piece_begins_although_another_move_came_right_behind_it(page: Browser, server: Played) -> None:
    start(page)
    page.wait_for("import('/page/state.js').then(({state}) => state.meters.ahead > 3)")
    page.evaluate("document.querySelector('#surprise').focus()")
    (work,) = server.place.radios.values()
    began, piece, held = told(page, "pieceBegan"), told(page, "program.piece"), Held()
    server.place.scheduler.add(held)
    try:
        assert held.is_held.wait(timeout=60.0)
        key(page, "n")
        deadline = time.monotonic() + 60.0
        while work.wished.piece != piece + 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        page.press(*RIGHT)
        while work.wished.surprise != told(page, "program.surprise") and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        held.let_go.set()
    until(page, f"state.pieceBegan > {began}")


def test_a_part_that_does_not_come_is_a_sentence_and_asked_for_again(
    server: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing, real = set(), Page.file_response

    def sent(self: Page, path: str, *more: Any, **named: Any) -> Any:
        if Path(path).name in missing:
            raise HTTPException(404)
        return real(self, path, *more, **named)

    monkeypatch.setattr(Page, "file_response", sent)
    with another(server, tmp_path) as page:
        for part in ("ring_worklet.js", "stream_worker.js"):
            missing.add(part)
            click(page, "#play")
            until(page, "state.phase === 'stopped' && state.sentence")
            assert "did not come" in told(page, "sentence")
            missing.clear()
        start(page)


def test_a_page_of_another_machine_has_no_audio_thread_and_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_chromium() is None:
        pytest.skip("there is no Chromium on this machine")
    monkeypatch.setattr("play_address.LOOPBACK", LOOPBACK | {"music.test"})
    rule = "--host-resolver-rules=MAP music.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with (
        played(tmp_path / "played") as server,
        another(server, tmp_path / "profile", rule, name="music.test") as page,
    ):
        assert page.evaluate("!isSecureContext && !('audioWorklet' in AudioContext.prototype)")
        for _ in range(2):  # it can be stopped, and plays again
            start(page)
            until(page, "state.meters.peak > 0.001 && state.meters.played > 2 * state.radio.rate")
            assert told(page, "meters.ahead") > 0
            page.evaluate("document.querySelector('#surprise').focus()")
            page.press(*RIGHT)
            until(page, "state.meters.delay > 0")
            page.evaluate("document.querySelector('#play').click()")
            until(page, "state.phase === 'stopped'")
        assert told(page, "sentence") == ""
        show(page, "yours")
        click(page, "#record")
        page.wait_for("document.querySelector('#yours-note').textContent.includes('https')")


def test_a_server_that_has_gone_is_a_calm_sentence(page: Browser, server: Played) -> None:
    start(page)
    server.stop()
    until(page, "state.phase === 'stopped'")
    assert "musigan play" in text(page, "#radio-state")
