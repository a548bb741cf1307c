"""onnxruntime-web, which runs the graphs in a browser: found in a folder, or taken from npm by its hash."""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from piano.foundation.errors import ConfigError
from piano.foundation.screen_text import printable

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package's archive, as npm writes it: SHA-512, base64."""
FILES = {"ort.wasm.bundle.min.mjs": "ort.mjs", "ort-wasm-simd-threaded.wasm": "ort.wasm"}
"""Of the package's folder dist, and what they are called on the page: all that the WebAssembly backend needs."""
LICENCE_NAME = "LICENSE-onnxruntime-web.txt"
LICENCE = """onnxruntime-web {version}, Copyright (c) Microsoft Corporation. All rights reserved. MIT License.

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
DOWNLOAD_SECONDS = 300


@contextmanager
def runtime_files(folder: Path | None) -> Iterator[dict[str, bytes]]:
    """The files of the runtime by their names on the page.

    Parameters
    ----------
    folder : Path, optional
        An unpacked package; without it `npm pack` brings the pinned version, whose hash must fit.

    Raises
    ------
    ConfigError
        The folder is no onnxruntime-web; or npm is not there, fails, or brings something else.
    """
    if folder is not None:
        yield read_package(folder)
        return
    with tempfile.TemporaryDirectory() as place:
        archive = download(Path(place))
        unpack(archive, Path(place))
        yield read_package(Path(place) / "package")


def read_package(folder: Path) -> dict[str, bytes]:
    """The files that the page needs, and a licence, of an unpacked package."""
    try:
        about = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        files = {page_name: (folder / "dist" / name).read_bytes() for name, page_name in FILES.items()}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its package.json cannot be read"
        raise ConfigError(
            f"{printable(folder)} is no unpacked {PACKAGE} ({reason}): --runtime names the folder that holds its "
            "package.json and dist."
        ) from None
    if not isinstance(about, dict) or about.get("name") != PACKAGE:
        raise ConfigError(f"{printable(folder)} holds another package than {PACKAGE}.")
    version = printable(about.get("version", "of an unknown version"))
    return files | {LICENCE_NAME: LICENCE.format(version=version).encode()}


def download(place: Path) -> Path:
    """The archive of the pinned version, brought by npm into a folder."""
    instead = f"Unpack {PACKAGE} {VERSION} yourself and name its folder with --runtime"
    npm = shutil.which("npm")
    if npm is None:
        raise ConfigError(f"the page needs {PACKAGE}, and there is no npm to bring it. {instead}, or install Node.js.")
    print(f"npm brings {PACKAGE} {VERSION} (33 MB) ...", flush=True)
    try:
        done = subprocess.run(
            [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(place), "--ignore-scripts", "--silent"],
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
        reason = " ".join(done.stderr.split())[-200:] or f"exit status {done.returncode}"
    except subprocess.TimeoutExpired:
        reason = f"no answer within {DOWNLOAD_SECONDS} seconds"
    archive = place / f"{PACKAGE}-{VERSION}.tgz"
    if not archive.is_file():
        raise ConfigError(f"npm could not bring {PACKAGE} {VERSION} ({printable(reason)}). {instead}.")
    if integrity_of(archive) != INTEGRITY:
        raise ConfigError(f"npm brought another {PACKAGE} {VERSION} than the one that is known here. {instead}.")
    return archive


def integrity_of(archive: Path) -> str:
    """SHA-512 of a file as npm writes it."""
    with open(archive, "rb") as stream:
        return "sha512-" + base64.b64encode(hashlib.file_digest(stream, "sha512").digest()).decode()


def unpack(archive: Path, place: Path) -> None:
    """Only the files that are needed, into `place`/package."""
    wanted = {"package/package.json", *(f"package/dist/{name}" for name in FILES)}
    with tarfile.open(archive) as opened:
        opened.extractall(place, members=[member for member in opened if member.name in wanted], filter="data")
