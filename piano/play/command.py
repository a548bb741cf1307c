"""Play a model in the browser: endless music whose controls are heard at once, and a library of takes."""

import argparse
import contextlib
import ipaddress
import os
import secrets
import socket
import threading
import webbrowser
from pathlib import Path
from typing import Any

from piano.config_reader import load_config_from_yaml
from piano.foundation import options as kinds
from piano.foundation.bounds import Bound
from piano.foundation.doors import fill, installed_version, program
from piano.foundation.errors import CheckpointError, ConfigError, run_command
from piano.foundation.model_folder import holds_model, no_model_text
from piano.foundation.screen_text import CommandParser, printable
from piano.play.access import LOOPBACK
from piano.play.models import Models, chosen_folders
from piano.play.place import Place
from piano.play.scheduler import Scheduler
from piano.play.warm_up import WarmUp

PORT, PORTS_TRIED = 7777, 20
LIBRARY = "takes"
PORT_RANGE = Bound(1, 65_535)
EXAMPLE = """examples:
  {musigan play}                              the model of your config, or the one that comes with the project
  {musigan play} checkpoints mixed            your own, and another to choose on the page
  {musigan play} --host 0.0.0.0 --no-browser  for other machines too: a token is asked for
"""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog=program("play"), description=__doc__, epilog=fill(EXAMPLE))
    parser.add_argument(
        "models", nargs="*", type=Path, help="folders of models, or shipped, mixed (default: the config's, shipped)"
    )
    kinds.add_shared(parser, "--config")
    parser.add_argument("--port", type=kinds.whole(PORT_RANGE), help=f"(default: {PORT}, or the next one that is free)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this computer only)")
    parser.add_argument(
        "--no-browser", action="store_true", help="only print the address (default: the page is opened)"
    )
    parser.add_argument(
        "--library", type=Path, help=f"folder of takes (default: {LIBRARY} in the config's music_out_folder)"
    )
    parser.add_argument(
        "--runs", type=Path, nargs="*", help="folders of training runs to watch (default: the config's)"
    )
    parser.add_argument("--real", type=Path, help="real music for blind listening (default: none)")
    kinds.add_shared(parser, "--device", "--threads")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve the page until Ctrl-C."""
    options = parse_arguments(argv)
    return run_command(lambda: play(options))


def play(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    require_extra()
    # Threads that wait by spinning make both sides slow when something else computes: a browser always does.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when PyTorch is imported
    config = load_config_from_yaml(options.config)
    folders = chosen_folders(
        options.models, config.checkpoint_folder if holds_model(config.checkpoint_folder) else None
    )
    for folder in folders.values():
        if not holds_model(folder):
            raise CheckpointError(no_model_text(folder, "generator"))
    if not folders:
        raise CheckpointError(no_model_text(config.checkpoint_folder, "generator"))
    listening = open_port(options.host, options.port)
    port = listening.getsockname()[1]
    is_local = is_loopback(options.host)
    token = "" if is_local else secrets.token_urlsafe(16)
    place = Place(
        models=Models(folders, device=options.device),
        scheduler=Scheduler(),
        library=options.library or config.music_out_folder / LIBRARY,
        hosts=LOOPBACK | {options.host.lower()} if is_local else host_names(options.host),
        token=token,
        runs=named_runs(options.runs if options.runs is not None else [config.checkpoint_folder]),
        real=options.real,
    )
    address = f"http://{shown_host(options.host)}:{port}/{f'?token={token}' if token else ''}"
    print(f"Playing at {address}   (Ctrl-C ends it)", flush=True)
    if not options.no_browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    serve(place, listening, options.threads)


def serve(place: Place, listening: socket.socket, threads: int | None) -> None:
    """Answer until the process is asked to stop."""
    import uvicorn

    from piano.play.connections import settings
    from piano.play.server import create_app

    app = create_app(place, version=installed_version())
    place.scheduler.add(WarmUp(place.models, app.state.library.open, threads=threads))
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        uvicorn.Server(settings(app, place.limits)).run(sockets=[listening])


def require_extra() -> None:
    """Raises ConfigError where the packages of the extra are missing."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f'the page needs the package {error.name}: install the extra with `pip install -e ".[play]"`.'
        ) from None


def open_port(host: str, port: int | None) -> socket.socket:
    """A socket that listens: on the port that was named, or on the first free one from PORT on; raises ConfigError."""
    for tried in [port] if port else range(PORT, PORT + PORTS_TRIED):
        try:
            found = socket.getaddrinfo(host, tried, type=socket.SOCK_STREAM)[0]
            listening = socket.socket(found[0], found[1])
        except OSError as error:
            raise ConfigError(f"--host {printable(host)} is no address of this computer: {error.strerror}.") from None
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(found[4])
            listening.listen(128)
        except OSError as error:
            listening.close()
            if port:
                raise ConfigError(f"--port {port} cannot be used: {error.strerror}. Name another one.") from None
            continue
        return listening
    raise ConfigError(
        f"no port from {PORT} to {PORT + PORTS_TRIED - 1} can be used on {printable(host)}. Name a --port."
    )


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this computer only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_names(host: str) -> frozenset[str]:
    """Names under which a server that listens on `host` may be called."""
    names = {socket.gethostname().lower(), socket.getfqdn().lower(), host.lower()}
    names |= {f"{socket.gethostname().lower()}.local"}
    try:
        found: list[Any] = socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        found = []
    names |= {str(entry[4][0]).lower() for entry in found} | {own_address()}
    return LOOPBACK | {f"[{name}]" if ":" in name else name for name in names if name}


def own_address() -> str:
    """The address by which this computer reaches others, which others reach it by; empty without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of documentation (RFC 5737): nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return ""


def shown_host(host: str) -> str:
    """The host in an address that works from another machine."""
    if host in ("0.0.0.0", "::"):
        return own_address() or socket.gethostname()
    return f"[{host}]" if ":" in host else host


def named_runs(folders: list[Path]) -> dict[str, Path]:
    """Folders of runs by the names that visitors see."""
    named: dict[str, Path] = {}
    for folder in folders:
        name = printable(folder.resolve().name)
        while name in named:
            name += "'"
        named[name] = folder
    return named


if __name__ == "__main__":
    raise SystemExit(main())
