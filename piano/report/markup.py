"""Pieces of HTML that the report is made of: sections, tables, folded parts, addresses that carry their content."""

import base64
import io
import re
from collections.abc import Collection, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from piano.foundation.screen_text import join_names

PLACES = re.compile(
    r"""base64,[A-Za-z0-9+/=]+|(?:(?<=&#x27;)|(?<='))/(?:[^/<>&']+/)+|(?<![\w/.:<~\\])(?:/(?:[^/\s<>"']+/)+|[A-Za-z]:\\(?:[^\\\s<>"']+\\)+)"""
)
"""What an address carries, which is left alone; the folders of a path that leads from the root."""
PICTURE_WIDTH = 1100
"""Of a picture that another command drew, in pixels."""


class Section(NamedTuple):
    """A part of the report."""

    key: str
    """Its address inside the page."""
    title: str
    words: str
    """What one sees or hears in it, as plain text; a blank line parts paragraphs."""
    content: str
    """HTML."""
    note: str = ""
    """A few words beside the title of a part that is folded."""
    absent: str = ""
    """Why there is nothing to show and how to get it, in a sentence; empty where there is something."""


def absent_section(key: str, title: str, sentence: str) -> Section:
    """A part that has nothing to show: it takes a line at the end of the page, and no more."""
    return Section(key, title, "", "", absent=sentence)


def without_places(html: str) -> str:
    """The same with the last names only of paths that lead from the root: a page that is sent tells no folders."""
    return PLACES.sub(lambda found: found[0] if found[0].startswith("base64,") else "", html)


def discreet(section: Section) -> Section:
    """A part of the page without places of the computer it was made on."""
    return Section(*map(without_places, section))


def section_html(section: Section) -> str:
    """A part of the page with its heading."""
    return (
        f'<section id="{section.key}" aria-labelledby="{section.key}-title">'
        f'<h2 id="{section.key}-title">{escape(section.title)}</h2>'
        f"{paragraphs(section.words)}{section.content}</section>"
    )


def folded_html(section: Section) -> str:
    """A part that opens when it is asked for; its heading can always be seen."""
    note = f' <span class="quiet">{escape(section.note)}</span>' if section.note else ""
    return (
        f'<section id="{section.key}" class="folded" aria-labelledby="{section.key}-title"><details><summary>'
        f'<h3 id="{section.key}-title">{escape(section.title)}</h3>{note}</summary>'
        f"{paragraphs(section.words)}{lower_headings(section.content)}</details></section>"
    )


def lower_headings(content: str) -> str:
    """Headings inside a folded part stand below its own."""
    return content.replace("<h3>", "<h4>").replace("</h3>", "</h4>")


def absent_html(sections: Sequence[Section]) -> str:
    """What has nothing to show, in one line that opens; empty if everything is there."""
    if not sections:
        return ""
    listed = "".join(f"<li><b>{escape(section.title)}</b>: {running_text(section.absent)}</li>" for section in sections)
    names = join_names([section.title for section in sections])
    return (
        f'<section id="absent" class="folded" aria-label="Not on this page"><details><summary>'
        f'<span class="quiet">Not on this page: {escape(names)}</span></summary><ul>{listed}</ul></details></section>'
    )


def contents_html(sections: Iterable[Section]) -> str:
    """The table of contents: an item for each part."""
    return "".join(f'<li><a href="#{section.key}">{escape(section.title)}</a></li>' for section in sections)


def paragraphs(text: str) -> str:
    """Plain text as paragraphs; blank lines part them."""
    return "".join(f"<p>{running_text(part.strip())}</p>" for part in text.split("\n\n") if part.strip())


def running_text(text: str) -> str:
    """Plain text as HTML in which no option of a command is broken at its hyphens."""
    return re.sub(r"(?<![\w-])--[a-z][a-z-]*", r'<span class="whole">\g<0></span>', escape(text))


def missing(sentence: str) -> str:
    """Something the page would show if it were there."""
    return f'<p class="missing">{running_text(sentence)}</p>'


def subheading(title: str, words: str = "") -> str:
    """A heading inside a section, with what it is about."""
    return f"<h3>{escape(title)}</h3>{paragraphs(words)}"


def fold(title: str, content: str, *, note: str = "") -> str:
    """A part that opens when it is asked for."""
    aside = f' <span class="quiet">{escape(note)}</span>' if note else ""
    return f"<details><summary>{escape(title)}{aside}</summary>{content}</details>"


def table_html(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, numbers: Collection[int] = (), kind: str = ""
) -> str:
    """A table whose first column names its rows.

    Parameters
    ----------
    head : sequence of str
        Plain text.
    rows : iterable of sequences of str
        HTML; values from outside must be escaped.
    caption : str
        What the table holds, for those who cannot see it.
    numbers : collection of int
        Columns that are set right, with digits of equal width.
    kind : str
        A class of the page's style, in place of the usual one.

    On a phone every row of a table of three columns or more becomes a small card; its cells then name themselves.
    """

    def cell(tag: str, content: str, column: int, more: str = "") -> str:
        kind = ' class="number"' if column in numbers else ""
        return f"<{tag}{more}{kind}>{content}</{tag}>"

    top = "".join(cell("th", escape(name), column, ' scope="col"') for column, name in enumerate(head))
    labels = [f' data-label="{escape(name)}"' if name else "" for name in head]
    body = "".join(
        "<tr>"
        + cell("th", row[0], 0, ' scope="row"')
        + "".join(cell("td", content, column, labels[column]) for column, content in enumerate(row[1:], start=1))
        + "</tr>"
        for row in rows
    )
    kind = kind or ("cards" if len(head) > 2 else "")
    kind_of_table = f' class="{kind}"' if kind else ""
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption)}"><table{kind_of_table}>'
        f"<caption>{escape(caption)}</caption>"
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def picture_of(path: Path, title: str) -> str:
    """A PNG that another command drew, small enough for a page; empty if it cannot be read."""
    try:
        with Image.open(path) as image:
            image = image.convert("RGB")
            if image.width > PICTURE_WIDTH:
                image = image.resize((PICTURE_WIDTH, round(image.height * PICTURE_WIDTH / image.width)))
            buffer = io.BytesIO()
            image.quantize(128).save(buffer, "PNG", optimize=True)
    except (OSError, ValueError):
        return ""
    alternative = escape(f"Chart: {title}; the text beside it says what it shows")
    address = data_uri("image/png", buffer.getvalue())
    return (
        f'<div class="scroll wide" role="region" aria-label="{escape(title)}">'
        f'<img class="drawn" src="{address}" alt="{alternative}"></div>'
    )


def facts_html(facts: Iterable[tuple[str, str]]) -> str:
    """Names and what they are, one below the other; both plain text."""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return f'<dl class="facts">{rows}</dl>'


def data_uri(kind: str, content: bytes) -> str:
    """Content as an address that carries it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def short(value: float) -> str:
    """A number in two or three digits that say something: 123, 1.50, 0.012, 1.2e-5; what rounding left is 0.00."""
    size = abs(value)
    if size < 1e-12:
        return "0.00"
    text = f"{size:.0f}" if size >= 100 else f"{size:.2f}" if size >= 0.1 else f"{size:.2g}"
    text = text.replace("e-0", "e-")
    return f"\u2212{text}" if value < 0 else text
