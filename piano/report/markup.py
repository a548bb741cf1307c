"""What the report is made with: its template engine, its sections, and values as they are read."""

import base64
import io
import re
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from piano.foundation.screen_text import join_names

PLACES = re.compile(
    r"""base64,[A-Za-z0-9+/=]+|(?:(?<=&#39;)|(?<='))/(?:[^/<>&']+/)+|(?<![\w/.:<~\\])(?:/(?:[^/\s<>"']+/)+|[A-Za-z]:\\(?:[^\\\s<>"']+\\)+)"""
)
"""What an address carries, which is left alone; the folders of a path that leads from the root."""
PICTURE_WIDTH = 1100
"""Of a picture that another command drew, in pixels."""
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*)")
"""Of a command, as it stands in a sentence."""
BETWEEN_TAGS = re.compile(r">\s*\n\s*<")
"""Line breaks that a template has for those who read it."""


def options_apart(text: str) -> list[tuple[str, bool]]:
    """Plain text in pieces, each with whether it is an option of a command, which no line may break."""
    return [(words, bool(index % 2)) for index, words in enumerate(OPTION.split(text)) if words]


def blocks(text: str) -> list[str]:
    """Plain text in paragraphs; blank lines part them."""
    return [part.strip() for part in text.split("\n\n") if part.strip()]


class Section(NamedTuple):
    """A part of the report."""

    key: str
    """Its address inside the page."""
    title: str
    words: str
    """What one sees or hears in it, as plain text; a blank line parts paragraphs."""
    content: Markup
    note: str = ""
    """A few words beside the title of a part that is folded."""
    absent: str = ""
    """Why there is nothing to show and how to get it, in a sentence; empty where there is something."""


def absent_section(key: str, title: str, sentence: str) -> Section:
    """A part that has nothing to show: it takes a line at the end of the page, and no more."""
    return Section(key, title, "", Markup(), absent=sentence)


def without_places(html: str) -> str:
    """The same with the last names only of paths that lead from the root: a page that is sent tells no folders."""
    return PLACES.sub(lambda found: found[0] if found[0].startswith("base64,") else "", html)


def discreet(section: Section) -> Section:
    """A part of the page without places of the computer it was made on."""
    key, title, words, content, note, absent = map(without_places, section)
    return Section(key, title, words, Markup(content), note, absent)


def picture_address(path: Path) -> str:
    """A PNG that another command drew, small enough for a page, as an address that carries it; empty if unreadable."""
    try:
        with Image.open(path) as image:
            image = image.convert("RGB")
            if image.width > PICTURE_WIDTH:
                image = image.resize((PICTURE_WIDTH, round(image.height * PICTURE_WIDTH / image.width)))
            buffer = io.BytesIO()
            image.quantize(128).save(buffer, "PNG", optimize=True)
    except (OSError, ValueError):
        return ""
    return data_uri("image/png", buffer.getvalue())


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


def rounded(value: float) -> str:
    """A figure of a scale from 0 to 1: two digits after the point, and no minus before nothing."""
    text = f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    return "0.00" if text == "-0.00" else text.replace("-", "\u2212")


ENGINE = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
"""Whatever is no `Markup` is escaped; a name that a template does not know is an error."""
ENGINE.filters |= {
    "blocks": blocks,
    "join_names": join_names,
    "options_apart": options_apart,
    "rounded": rounded,
    "short": short,
}


def render(template: str, **values: Any) -> Markup:
    """A template of `templates/` with its values; line breaks between two tags are no part of what it gives."""
    return joined(ENGINE.get_template(template).render(values))


def macro(template: str, name: str, *values: Any, **named: Any) -> Markup:
    """A macro of a template with its values."""
    return joined(getattr(ENGINE.get_template(template).module, name)(*values, **named))


def joined(html: str) -> Markup:
    """HTML without the line breaks between its tags."""
    return Markup(BETWEEN_TAGS.sub("><", html).strip())
