"""Pieces of HTML that the report is made of: sections, tables, folded parts, addresses that carry their content."""

import base64
from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import NamedTuple


class Section(NamedTuple):
    """A part of the report."""

    key: str
    """Its address inside the page."""
    title: str
    words: str
    """What one sees or hears in it, as plain text; a blank line parts paragraphs."""
    content: str
    """HTML."""


def section_html(section: Section) -> str:
    """A part of the page with its heading."""
    return (
        f'<section id="{section.key}" aria-labelledby="{section.key}-title">'
        f'<h2 id="{section.key}-title">{escape(section.title)}</h2>'
        f"{paragraphs(section.words)}{section.content}</section>"
    )


def contents_html(sections: Iterable[Section]) -> str:
    """The table of contents: an item for each part."""
    return "".join(f'<li><a href="#{section.key}">{escape(section.title)}</a></li>' for section in sections)


def paragraphs(text: str) -> str:
    """Plain text as paragraphs; blank lines part them."""
    return "".join(f"<p>{escape(part.strip())}</p>" for part in text.split("\n\n") if part.strip())


def missing(sentence: str) -> str:
    """Something the page would show if it were there."""
    return f'<p class="missing">{escape(sentence)}</p>'


def subheading(title: str, words: str = "") -> str:
    """A heading inside a section, with what it is about."""
    return f"<h3>{escape(title)}</h3>{paragraphs(words)}"


def fold(title: str, content: str, *, note: str = "") -> str:
    """A part that opens when it is asked for."""
    aside = f' <span class="quiet">{escape(note)}</span>' if note else ""
    return f"<details><summary>{escape(title)}{aside}</summary>{content}</details>"


def table_html(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, numbers: Collection[int] = ()
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
    """

    def cell(tag: str, content: str, column: int, scope: str = "") -> str:
        kind = ' class="number"' if column in numbers else ""
        return f"<{tag}{scope}{kind}>{content}</{tag}>"

    top = "".join(cell("th", escape(name), column, ' scope="col"') for column, name in enumerate(head))
    body = "".join(
        "<tr>"
        + cell("th", row[0], 0, ' scope="row"')
        + "".join(cell("td", content, column) for column, content in enumerate(row[1:], start=1))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption)}"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def facts_html(facts: Iterable[tuple[str, str]]) -> str:
    """Names and what they are, one below the other; both plain text."""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return f'<dl class="facts">{rows}</dl>'


def data_uri(kind: str, content: bytes) -> str:
    """Content as an address that carries it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def short(value: float) -> str:
    """A number in three digits, or none after the point where they would say nothing."""
    if abs(value) >= 100:
        text = f"{value:.0f}"
    else:
        text = f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"
    return text.replace("-", "\u2212", 1) if value < 0 else text


def join_names(names: Sequence[str]) -> str:
    """one, two and three"""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


def counted(number: int, noun: str, plural: str = "") -> str:
    """1 song, 2 songs; thousands apart."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}".replace(",", "\u202f")
