"""The site of the documents, built once: every link leads somewhere, nothing comes from elsewhere, its search works."""

import json
import re
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import pytest

from docs.website import build_site
from docs.website.site_content import Content
from docs.website.site_pages import Page, navigation, pages
from docs.website.site_slugs import slugify
from piano.foundation.errors import MusiganError
from tests.browser import chromium, find_chromium
from tests.shown_commands import PROJECT

needs_the_extra = pytest.mark.skipif(
    not all(find_spec(name) for name in ("zensical", "mkdocstrings", "nbconvert")),
    reason="the extra docs is not installed",
)
LOADS = {
    "script": "src",
    "img": "src",
    "audio": "src",
    "source": "src",
    "iframe": "src",
    "video": "src",
    "link": "href",
}
"""What a page loads by itself, and where it says from where. Links with rel next, prev, canonical are not loaded."""
NOT_LOADED = {"next", "prev", "canonical", "alternate"}


class PageReader(HTMLParser):
    """What an HTML page points to, what it loads, and its anchors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.sounds: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADS and LOADS[tag] in given and given.get("rel") not in NOT_LOADED:
            self.loaded.append(given[LOADS[tag]])
        if tag == "audio":
            self.sounds.append(given.get("src", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site.build(tmp_path_factory.mktemp("site") / "built").parent


@pytest.fixture(scope="module")
def read(site: Path) -> dict[Path, PageReader]:
    return {path: PageReader(path) for path in site.rglob("*.html") if path.name != "404.html"}


def is_elsewhere(address: str) -> bool:
    return bool(re.match(r"([a-z]+:)?//|mailto:", address))


def dead_ends(read: dict[Path, PageReader]) -> list[str]:
    """Links of pages to files that are not there, or to places that their pages do not have."""
    dead = []
    for path, page in read.items():
        for address in {*page.links, *page.loaded}:
            if is_elsewhere(address) or address.startswith(("data:", "javascript:")):
                continue
            file, _, anchor = address.partition("#")
            target = (path.parent / unquote(file)).resolve() if file else path
            target = target / "index.html" if target.is_dir() else target
            known = read[target].anchors if target in read else set()
            if not target.is_file() or (anchor and target.suffix == ".html" and unquote(anchor) not in known):
                dead.append(f"{path.name}: {address}")
    return dead


@needs_the_extra
def test_every_link_of_the_site_leads_somewhere(read: dict[Path, PageReader]) -> None:
    assert sum(len(page.links) for page in read.values()) > 1000
    assert dead_ends(read) == []


def test_a_dead_link_of_a_page_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text('<p id="here"><a href="#here"></a><a href="#none"></a><a href="b.html"></a><img src="c.png">')
    assert sorted(dead_ends({path: PageReader(path)})) == ["a.html: #none", "a.html: b.html", "a.html: c.png"]


@needs_the_extra
def test_no_page_loads_anything_from_another_host(site: Path, read: dict[Path, PageReader]) -> None:
    assert [address for page in read.values() for address in page.loaded if is_elsewhere(address)] == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert [address for address in re.findall(r"url\(([^)]*)\)|@import", styles) if is_elsewhere(address)] == []


@needs_the_extra
def test_the_first_page_is_to_be_heard_and_every_sound_is_there(site: Path, read: dict[Path, PageReader]) -> None:
    assert len(read[site / "index.html"].sounds) >= 12
    linked = {(path.parent / address).resolve() for path, page in read.items() for address in page.sounds if address}
    assert {path.name for path in linked if path.parent.name == "sounds"} == {
        path.name for path in (PROJECT / "docs" / "sounds").glob("*.mp3")
    }
    assert all(path.stat().st_size > 10_000 for path in linked)


@needs_the_extra
def test_every_document_is_a_page_and_every_page_can_be_searched(site: Path, read: dict[Path, PageReader]) -> None:
    shown = {path.relative_to(site).as_posix() for path in read}
    assert {page.address.replace(".md", ".html") for page in pages()} <= shown
    found = json.loads((site / "search.json").read_text(encoding="utf-8"))
    texts = json.dumps(found)
    assert "Posterior collapse" in texts and "energy_score_loss" in texts and "Fashion-MNIST" in texts


@needs_the_extra
@pytest.mark.skipif(find_chromium() is None, reason="no Chromium here")
def test_a_browser_searches_from_disk_and_asks_no_other_host(site: Path, tmp_path: Path) -> None:
    program = find_chromium()
    assert program
    with chromium(program, tmp_path / "profile") as browser:
        browser.open(site / "index.html")
        browser.evaluate("document.querySelector('.md-search__button').click()")
        root = (
            "[...document.querySelectorAll('*')]"
            ".find(one => one.shadowRoot?.querySelector('[role=combobox]'))?.shadowRoot"
        )
        browser.wait_for(f"!!{root}")
        browser.evaluate(
            f"(() => {{ const box = {root}.querySelector('[role=combobox]');"
            " box.focus(); box.value = 'posterior collapse';"
            " box.dispatchEvent(new InputEvent('input', { bubbles: true, composed: true })); })()"
        )
        browser.wait_for(f"{root}.querySelectorAll('[role=listbox] a').length > 0")
        assert "illnesses.html" in browser.evaluate(f"{root}.querySelector('[role=listbox]').innerHTML")
        assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        asked = [
            event["params"]["request"]["url"]
            for event in browser.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        assert asked
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


@needs_the_extra
@pytest.mark.parametrize("fault", ["[to](none.md)", "[to](#none)"])
def test_a_page_with_a_dead_link_is_not_built(tmp_path: Path, fault: str) -> None:
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "index.md").write_text(f"# Top\n\n{fault}\n", encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text("site_name: x\ndocs_dir: content\nsite_dir: site\n", encoding="utf-8")
    with pytest.raises(MusiganError, match="was not built"):
        build_site._run_generator(tmp_path)


def test_a_folder_of_other_things_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(MusiganError, match="holds something else"):
        build_site.build(tmp_path)
    assert (tmp_path / "letter.txt").read_text(encoding="utf-8") == "dear"


def test_links_lead_on_inside_the_site(tmp_path: Path) -> None:
    page = Page("docs/ruler.md", "ruler.md", "The ruler")
    content = Content(tmp_path, [page, Page("docs/results.md", "results.md", "Leaderboard")])
    text = "[r](results.md#speed) [c](../piano/stages.py) [e](https://a.org) [h](#A-b.)\n```\n[x](none.md)\n```\n"
    assert content.rewritten(text, page) == (
        "[r](results.md#speed) [c](code/piano/stages.py.md) [e](https://a.org) [h](#a-b)\n```\n[x](none.md)\n```\n"
    )
    assert "## Stages" not in (text := content.text_of(content.pages[-1])) and "```python\n" in text
    with pytest.raises(MusiganError, match=r"docs/ruler\.md leads to docs/none\.md, which is not there"):
        content.rewritten("[x](none.md)", page)


def test_a_link_to_a_sound_is_a_player(tmp_path: Path) -> None:
    page = Page("docs/illnesses.md", "illnesses.md", "Illnesses")
    text = Content(tmp_path, [page]).rewritten("[Healthy](sounds/healthy.mp3) · [Drone](sounds/drone.mp3)\n", page)
    assert text.count("<audio controls") == 2 and "·" not in text
    assert (tmp_path / "files/docs/sounds/drone.mp3").is_file()


def test_a_new_document_becomes_a_page_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("hear-it", "play", "some-new-thing"):
        (tmp_path / "docs" / f"{name}.md").write_text("# x\n", encoding="utf-8")
    monkeypatch.setattr("docs.website.site_pages.PROJECT", tmp_path)
    tree = navigation(pages())
    assert tree[:2] == [{"Hear it": "index.md"}, {"Start": [{"A page in the browser": "play.md"}]}]
    assert tree[-1] == {"More": [{"Some new thing": "some-new-thing.md"}]}


def test_headings_have_the_addresses_of_code_hosts() -> None:
    assert (
        slugify("Before and after fine-tuning: `evaluate --before`") == "before-and-after-fine-tuning-evaluate---before"
    )
