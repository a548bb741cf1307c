"""The text of the site's pages out of the project's files: links lead on inside the site, sounds get a player."""

import html
import os
import re
import shutil
from pathlib import Path, PurePosixPath

from docs.website.site_pages import API, PROJECT, Page, pages
from docs.website.site_slugs import slugify
from piano.foundation.errors import MusiganError

HERE = Path(__file__).resolve().parent
SOUNDS = (".mp3", ".wav", ".flac", ".ogg")
CODE = {".py": "python", ".sh": "bash", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", "": "text", ".txt": "text"}
"""Files that a link shows as a page of code, with the language they are coloured as."""
_FENCE = re.compile(r"(^```.*?^```[ \t]*$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


class Content:
    """The folder of texts from which the site is made, as it grows: what a page links to becomes part of it.

    Parameters
    ----------
    folder : Path
        New; the texts are written here.
    shown : list of Page
        The pages of the navigation.
    """

    def __init__(self, folder: Path, shown: list[Page]) -> None:
        self.folder = folder
        self.pages = list(shown)
        self.addresses = {page.source: page.address for page in shown if not page.address.startswith("api/")}
        self._waiting = [page for page in shown if page.source in self.addresses]

    def write_all(self) -> None:
        """Every page, and every file and further page that one of them leads to."""
        while self._waiting:
            page = self._waiting.pop(0)
            self.write(page.address, self.text_of(page))

    def text_of(self, page: Page) -> str:
        """A page's text, from a document, a notebook or a file of code."""
        path = PROJECT / page.source
        if path.suffix == ".ipynb":
            return self._notebook(path, page)
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            return self.rewritten(text, page)
        fence = "`" * 4
        return f"# `{page.source}`\n\n{fence}{CODE[path.suffix]}\n{text}\n{fence}\n"

    def rewritten(self, text: str, page: Page) -> str:
        """A document with its links as they lead inside the site; what stands in a block of code stays."""
        pieces = _FENCE.split(text)
        return "".join(piece if piece.startswith("```") else self._prose(piece, page) for piece in pieces)

    def _prose(self, text: str, page: Page) -> str:
        # A list or a table right below a paragraph belongs to the paragraph in the dialect that the generator reads.
        text = re.sub(r"(?m)^((?!- |\d+\. |\||#|\s*$|    | {2}\S).*)\n(?=- |1\. |\| )", r"\1\n\n", text)
        text = _LINK.sub(lambda match: self._link(match, page), text)
        return re.sub(r"</audio></span>\s+·\s+(?=<span class=\"sound\">)", "</audio></span>\n", text)

    def _link(self, match: re.Match[str], page: Page) -> str:
        mark, words, target = match.groups()
        if re.match(r"[a-z]+:", target):
            return match[0]
        path, _, anchor = target.partition("#")
        if not path:
            return f"{mark}[{words}](#{slugify(anchor)})"  # a notebook writes its headings in another way
        source = os.path.normpath(PurePosixPath(page.source).parent / path).replace(os.sep, "/")
        address = self.address_of(source, page)
        near = os.path.relpath(address, PurePosixPath(page.address).parent).replace(os.sep, "/")
        if Path(address).suffix in SOUNDS and not mark:
            return player(words, near)
        if Path(address).suffix == ".png" and mark:
            return f"[![{words}]({near})]({near})"  # on a phone a picture is small: a touch opens it alone
        return f"{mark}[{words}]({near}{'#' if anchor else ''}{anchor})"

    def address_of(self, source: str, page: Page) -> str:
        """Where a file of the project stands in the site; it is brought there if it is not yet.

        Raises
        ------
        MusiganError
            There is no such file.
        """
        path = PROJECT / source
        if path.is_dir() and (path / "README.md").is_file():
            source = f"{source}/README.md"
            path = PROJECT / source
        if source in self.addresses:
            return self.addresses[source]
        if not path.is_file():
            raise MusiganError(f"{page.source} leads to {source}, which is not there")
        if path.suffix in {".md", ".ipynb", *CODE}:
            address = source if path.suffix == ".md" else f"code/{source}.md"
            further = Page(source, address.replace("README.md", "about.md"), "")
            self.pages.append(further)
            self._waiting.append(further)
            self.addresses[source] = further.address
        else:
            self.addresses[source] = f"files/{source}"
            self.copy(path, f"files/{source}")
        return self.addresses[source]

    def _notebook(self, path: Path, page: Page) -> str:
        """A notebook with its pictures beside it."""
        from nbconvert import MarkdownExporter  # of the extra, like the generator

        name = path.stem
        text, resources = MarkdownExporter().from_filename(str(path), {"output_files_dir": f"{name}_files"})
        home = PurePosixPath(page.address).parent
        for file, held in resources["outputs"].items():
            target = self.folder / home / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(held)
            self.addresses[str(PurePosixPath(page.source).parent / file)] = str(home / file)
        return self.rewritten(re.sub(r"(?s)<style.*?</style>", "", text), page)

    def write(self, address: str, text: str) -> None:
        """Put a text into the folder."""
        target = self.folder / address
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def copy(self, path: Path, address: str) -> None:
        """Put a file into the folder as it is."""
        target = self.folder / address
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def player(words: str, address: str) -> str:
    """A sound to hear in the page: its name and the browser's player, which loads nothing until it is asked to."""
    name = html.escape(re.sub(r"[*`]", "", words), quote=True)
    return (
        f'<span class="sound"><a href="{address}">{html.escape(words, quote=False)}</a>'
        f'<audio controls preload="none" src="{address}" aria-label="{name}"></audio></span>'
    )


def write_content(folder: Path) -> list[Page]:
    """Write the texts of all pages into a new folder, and return the pages."""
    shown = pages()
    content = Content(folder, shown)
    content.write_all()
    for address, title, names in API:
        blocks = "\n\n".join(f"::: {name}" for name in names)
        content.write(f"api/{address}.md", f"# {title}\n\n{blocks}\n")
    content.copy(HERE / "website.css", "website.css")
    return content.pages
