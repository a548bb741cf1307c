"""The report in a real browser: it plays, fetches nothing, fits a phone, and needs neither mouse nor screen."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from browser import Browser, chromium, find_chromium
from report_run import make_page, make_run

PHONE, DESKTOP = 375, 1200
TAB, ENTER, RIGHT = ("Tab", 9), ("Enter", 13), ("ArrowRight", 39)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that shows the report of a small run."""
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    folder = tmp_path_factory.mktemp("report")
    page = folder / "report.html"
    run = make_run(folder / "run")
    page.write_text(make_page(run, "--real", str(run / "dataset")), encoding="utf-8")
    with chromium(program, folder / "profile") as browser:
        browser.open(page)
        yield browser


def test_every_player_really_plays(browser: Browser) -> None:
    state = """(async () => { const found = [];
      for (const audio of document.querySelectorAll("audio")) { await audio.play();
        const limit = performance.now() + 60000;
        while (audio.currentTime < 0.05 && performance.now() < limit) await new Promise(go => setTimeout(go, 10));
        found.push([audio.duration, audio.currentTime, Number(audio.closest(".sound").dataset.seconds)]);
        audio.pause(); }
      return found; })()"""
    played = np.array(browser.evaluate(state))
    assert len(played) >= 8
    duration, now, said = played.T
    assert np.all(now > 0.04)
    assert np.allclose(duration, said, atol=0.15)


def test_nothing_is_fetched_from_a_network_and_nothing_goes_wrong(browser: Browser) -> None:
    open_all(browser)
    requests = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event.get("method") == "Network.requestWillBeSent"
    ]
    assert requests
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    wrong = ("Runtime.exceptionThrown", "Log.entryAdded")
    assert [event for event in browser.events if event.get("method") in wrong] == []


def open_all(browser: Browser, *, is_open: bool = True) -> None:
    """Open or close every folded part."""
    word = "true" if is_open else "false"
    browser.evaluate(f"document.querySelectorAll('details').forEach(part => part.open = {word})")


def test_folded_the_page_is_short_on_a_phone(browser: Browser) -> None:
    open_all(browser, is_open=False)
    browser.set_width(390)
    assert browser.evaluate("document.documentElement.scrollHeight") < 5000
    open_all(browser)
    narrow = """[...document.querySelectorAll('.cards th[scope=row], .scale th[scope=row]')]
      .filter(cell => cell.getClientRects().length && cell.getBoundingClientRect().width < 250).length"""
    assert browser.evaluate(narrow) == 0  # the names of rows have a line of their own


@pytest.mark.parametrize("width", [PHONE, 768, DESKTOP])
def test_nothing_is_wider_than_the_screen(browser: Browser, width: int) -> None:
    browser.set_width(width)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    outside = """[...document.querySelectorAll("main *")].filter(part => !part.closest(".scroll, svg, .unseen, .plot")
      && part.getBoundingClientRect().right > innerWidth + 1).map(part => part.outerHTML.slice(0, 80))"""
    assert browser.evaluate(outside) == []


def test_the_keyboard_reaches_and_works_every_player(browser: Browser) -> None:
    browser.set_width(DESKTOP)
    open_all(browser)
    browser.evaluate("document.activeElement.blur()")
    wanted = set(browser.evaluate("[...document.querySelectorAll('.sound')].map(card => card.dataset.name)"))
    reached = []
    for _ in range(10 * len(wanted)):
        browser.press(*TAB)
        reached.append(
            browser.evaluate(
                "[document.activeElement.className, document.activeElement.closest('.sound')?.dataset.name,"
                " getComputedStyle(document.activeElement).outlineStyle]"
            )
        )
        if {name for kind, name, _ in reached if kind == "play"} == wanted:
            break
    assert {name for kind, name, _ in reached if kind == "play"} == wanted
    assert reached[0][0] == "skip"
    assert all(outline != "none" for kind, _, outline in reached if kind == "play")
    browser.press(*ENTER)
    browser.wait_for("!document.activeElement.closest('.sound').querySelector('audio').paused")
    browser.wait_for("document.activeElement.getAttribute('aria-label').startsWith('Pause ')")
    browser.press(*ENTER)
    browser.wait_for("document.activeElement.closest('.sound').querySelector('audio').paused")
    browser.evaluate("document.querySelector('.seek').focus()")
    before = browser.evaluate("document.activeElement.closest('.sound').querySelector('audio').currentTime")
    browser.press(*RIGHT)
    now = browser.evaluate("document.activeElement.closest('.sound').querySelector('audio').currentTime")
    assert now == pytest.approx(before + 0.1, abs=0.11) and now > before


def test_everything_has_a_name_of_its_own_for_a_screen_reader(browser: Browser) -> None:
    nodes = [node for node in browser.send("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
    for role in ("button", "slider", "image", "link", "heading", "region", "navigation", "table"):
        names = [name for kind, name in named if kind == role]
        assert names, role
        assert all(names), role
    for role in ("button", "slider"):
        names = [name for kind, name in named if kind == role]
        assert len(set(names)) == len(names), role
    roles = [role for role, _ in named]
    assert roles.count("main") == roles.count("navigation") == 1


def test_headings_come_in_order_and_the_contents_lead_to_them(browser: Browser) -> None:
    levels = browser.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(part => Number(part.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    lost = """[...document.querySelectorAll("nav a")]
      .filter(link => !document.querySelector(link.hash)?.querySelector("h2")).length"""
    assert browser.evaluate(lost) == 0
    assert browser.evaluate("document.querySelectorAll('nav a').length === document.querySelectorAll('h2').length")


def test_a_row_grows_from_epoch_to_epoch_at_one_place_of_the_piece(browser: Browser) -> None:
    browser.evaluate("document.querySelector('.row button').click()")
    label = "document.querySelector('.row .now').textContent"
    assert browser.evaluate("document.querySelector('.row button').textContent") == "Stop"
    assert "Epoch 1" in browser.evaluate(label)
    browser.wait_for("!document.querySelector('.row audio').paused")
    browser.wait_for(f"{label}.includes('Epoch 2')")
    browser.wait_for("!document.querySelectorAll('.row audio')[1].paused")
    playing = "[...document.querySelectorAll('audio')].filter(audio => !audio.paused).length"
    assert browser.evaluate(playing) in (1, 2)  # two while one fades into the next
    browser.evaluate("document.querySelector('.row button').click()")
    browser.wait_for(f"{playing} === 0")
    assert browser.evaluate("document.querySelector('.row audio').volume") == 1


def test_the_bar_at_the_foot_goes_on_repeats_and_is_quieter(browser: Browser) -> None:
    open_all(browser)
    browser.evaluate("document.querySelector('.sound .play').click()")
    browser.wait_for("!document.querySelector('.deck').hidden")
    names = browser.evaluate("[...document.querySelectorAll('.sound')].map(card => card.dataset.name)")
    assert browser.evaluate("document.querySelector('.deck b').textContent") == names[0]
    browser.evaluate("document.querySelector('[aria-label=\"Next sound\"]').click()")
    browser.wait_for(f"document.querySelector('.deck b').textContent === {names[1]!r}")
    browser.evaluate("""(() => { const loud = document.querySelector('[aria-label=Volume]'); loud.value = 0.25;
      loud.dispatchEvent(new Event('input')); })()""")
    volumes = browser.evaluate("[...document.querySelectorAll('audio')].map(audio => audio.volume)")
    assert set(volumes) == {0.25}
    pressed = "document.querySelector('.deck [aria-pressed]').getAttribute('aria-pressed')"
    assert browser.evaluate(pressed) == "false"
    browser.evaluate("document.querySelector('.deck [aria-pressed]').click()")
    assert browser.evaluate(pressed) == "true"
    browser.evaluate("document.querySelector('.deck [aria-pressed]').click()")
    browser.evaluate("document.querySelectorAll('audio').forEach(audio => audio.pause())")


def test_the_blind_test_hides_the_names_and_counts_what_was_right(browser: Browser) -> None:
    box = "document.querySelector('.game')"
    said = f"{box}.querySelector('p').textContent"
    buttons = f"[...{box}.querySelectorAll('button')]"
    shown = f"{buttons}.filter(button => button.offsetParent).map(button => button.textContent)"
    assert browser.evaluate(shown) == ["Play A", "Play B"]
    for round_number in range(1, 6):
        for letter in "AB":
            browser.evaluate(
                f"[...{box}.querySelectorAll('button')].find(b => b.textContent === 'Play {letter}').click()"
            )
        assert browser.evaluate(said) == "Which one is real?"
        assert browser.evaluate(shown) == ["Play A", "Play B", "A is real", "B is real"]
        browser.evaluate(f"[...{box}.querySelectorAll('button')].find(b => b.textContent === 'A is real').click()")
        answer = browser.evaluate(said)
        assert "The real one was Validation song" in answer and "the made one Sample" in answer
        assert (" of 5 right" if round_number == 5 else f" of {round_number} so far.") in answer
        browser.evaluate(f"[...{box}.querySelectorAll('button')].find(b => b.offsetParent).click()")
    assert browser.evaluate(said) == "Round 1 of 5: listen to both."


def test_a_sound_can_be_saved_under_its_title(browser: Browser) -> None:
    links = browser.evaluate(
        "[...document.querySelectorAll('a.get')].map(link => [link.download, link.href.slice(0, 22)])"
    )
    assert ["Sample-1.mp3", "data:audio/mpeg;base64"] in links and len(links) >= 6


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_every_large_card_has_its_link_and_no_frame_is_cut(browser: Browser, width: int) -> None:
    browser.set_width(width)
    open_all(browser)
    hidden = """[...document.querySelectorAll("a.get")].filter(link => {
      const box = link.getBoundingClientRect();
      return box.width < 10 || box.left < 0 || box.right > innerWidth; }).length"""
    assert browser.evaluate("document.querySelectorAll('a.get').length") >= 6
    assert browser.evaluate(hidden) == 0
    room = """[...document.querySelectorAll(".strip")].map(strip =>
      strip.querySelector(".picture").getBoundingClientRect().left - strip.getBoundingClientRect().left)"""
    rooms = browser.evaluate(room)
    assert rooms and min(rooms) >= 4  # an outline of 2 px, 2 px away


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_pitch_labels_do_not_touch(browser: Browser, width: int) -> None:
    browser.set_width(width)
    open_all(browser)
    gaps = browser.evaluate("""[...document.querySelectorAll(".picture")].flatMap(picture => {
      const tops = [...picture.querySelectorAll("span")].filter(mark => mark.getClientRects().length)
        .map(mark => mark.getBoundingClientRect()).sort((a, b) => a.top - b.top);
      return tops.slice(1).map((box, index) => box.top - tops[index].bottom); })""")
    assert gaps and min(gaps) >= 4


@pytest.mark.parametrize("is_dark", [False, True])
def test_text_stands_out_from_the_paper(browser: Browser, is_dark: bool) -> None:
    browser.set_width(DESKTOP, is_dark=is_dark)
    script = """["--ink", "--quiet", "--accent", "--good", "--bad", "--one", "--two", "--three", "--four", "--paper",
      "--wash", "--wash-good"].map(name => getComputedStyle(document.documentElement).getPropertyValue(name).trim())"""
    colours = [[int(text[place : place + 2], 16) / 255 for place in (1, 3, 5)] for text in browser.evaluate(script)]
    linear = np.where(
        np.array(colours) <= 0.04045, np.array(colours) / 12.92, ((np.array(colours) + 0.055) / 1.055) ** 2.4
    )
    light = linear @ np.array([0.2126, 0.7152, 0.0722])  # WCAG 2.2, relative luminance
    words, papers = light[:-3, None], light[None, -3:]
    assert ((np.maximum(words, papers) + 0.05) / (np.minimum(words, papers) + 0.05)).min() >= 4.5


def test_cards_beside_each_other_end_at_one_height_and_no_dot_is_cut(browser: Browser) -> None:
    browser.set_width(DESKTOP)
    open_all(browser)
    ends = """[...document.querySelectorAll(".grid.large")].flatMap(grid => [...grid.children].map(card =>
      card.getBoundingClientRect().bottom - card.querySelector(".picture").getBoundingClientRect().bottom))"""
    found = browser.evaluate(ends)
    assert found and max(map(abs, found)) < 1
    browser.set_width(390)
    cut = """[...document.querySelectorAll(".track b")].filter(dot => { const box = dot.getBoundingClientRect(),
      room = dot.closest(".scroll").getBoundingClientRect();
      return box.width && (box.left < room.left - .5 || box.right > room.right + .5); }).length"""
    assert browser.evaluate("document.querySelectorAll('.track b').length") > 5 and browser.evaluate(cut) == 0
