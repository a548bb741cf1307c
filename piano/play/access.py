"""Who may come in: calls by our own name, from our own page, and with the token where there is one.

A page of a stranger in the same browser can send requests to this computer. So whatever changes something, and every
socket, must come from our own page (Origin); and the name in the request must be ours (Host), or a stranger's name that
points to this computer would make his page ours (DNS rebinding).
"""

import contextlib
import hmac
import json
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect

COOKIE = "musigan"
TRY_LATER = 1013
GONE = (WebSocketDisconnect, RuntimeError, OSError)
"""What is raised where a socket has gone, by whoever speaks to it next."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
HEADERS = {
    b"content-security-policy": b"default-src 'self'; media-src 'self' blob:; img-src 'self' data: blob:; "
    b"worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=(self)",
}


class Guard:
    """ASGI middleware in front of everything.

    Parameters
    ----------
    app : ASGI application
    hosts : frozenset of str
        Names under which the server may be called, without port.
    token : str
        Asked for where it is not empty: as `Authorization: Bearer`, in a cookie, or once in the address (`?token=`),
        which sets the cookie.
    """

    def __init__(self, app: Any, *, hosts: frozenset[str], token: str = "") -> None:
        self.app = app
        self.hosts = hosts
        self.token = token

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Let a request through, with our headers on the answer, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        refused = self.refusal(scope, headers)
        if refused:
            await _refuse(scope, receive, send, *refused)
            return
        sets_cookie = self._token_in_address(scope)

        async def answered(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS.items()]
                if sets_cookie:
                    cookie = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
                    message["headers"].append((b"set-cookie", cookie.encode()))
            await send(message)

        await self.app(scope, receive, answered)

    def refusal(self, scope: dict[str, Any], headers: dict[bytes, str]) -> tuple[int, str] | None:
        """Status and sentence for who may not come in; None for who may."""
        host = host_name(headers.get(b"host", ""))
        if host not in self.hosts and not is_numbered_alike(host, scope):
            return 421, "This name is not ours: open the address that the player printed when it started."
        if headers.get(b"sec-fetch-site", "none") not in ("same-origin", "none") and not is_visit(scope, headers):
            return 403, "Another page asked for this: only the page of this server may."  # a foreign <audio>, say
        changes = scope["type"] == "websocket" or scope["method"] in CHANGING
        origin = headers.get(b"origin", "")
        if origin and not is_own_origin(origin, headers.get(b"host", "")):
            return 403, "Another page asked for this: only the page of this server may."
        has_token = self._has_token(scope, headers)
        if self.token and not has_token:
            return 401, "This server asks for a token: open the whole address that the player printed when it started."
        if changes and not origin and not (self.token and has_token):
            return 403, "A request that changes something must say from which page it comes (Origin)."
        return None

    def _has_token(self, scope: dict[str, Any], headers: dict[bytes, str]) -> bool:
        kind, _, said = headers.get(b"authorization", "").partition(" ")
        shown = [said.strip()] if kind.lower() == "bearer" else []
        try:
            if cookie := SimpleCookie(headers.get(b"cookie", "")).get(COOKIE):
                shown.append(cookie.value)
        except CookieError:
            pass
        shown += parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [])
        return any(hmac.compare_digest(text.encode(), self.token.encode()) for text in shown)

    def _token_in_address(self, scope: dict[str, Any]) -> bool:
        """Whether the token came in the address, to be remembered in a cookie."""
        return bool(self.token) and scope["type"] == "http" and b"token=" in scope.get("query_string", b"")


def is_visit(scope: dict[str, Any], headers: dict[bytes, str]) -> bool:
    """Whether a browser follows a link to the page."""
    return scope["type"] == "http" and scope["path"] == "/" and headers.get(b"sec-fetch-mode") == "navigate"


def host_name(host: str) -> str:
    """The name in a Host header, without port, in small letters."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
    return name.lower()


def is_numbered_alike(host: str, scope: dict[str, Any]) -> bool:
    """Whether a Host is the number at which the request arrived, as no stranger's name can be."""
    try:
        return ip_address(host.strip("[]")) == ip_address((scope.get("server") or ("",))[0])
    except ValueError:
        return False


def is_own_origin(origin: str, host: str) -> bool:
    """Whether an Origin header names the page of the server that a Host header names."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


async def refuse(socket: WebSocket, reason: str) -> None:
    """Tell a page on an open socket that it cannot be served now, and hang up."""
    with contextlib.suppress(*GONE):
        await socket.send_text(json.dumps({"type": "refused", "reason": reason}))
        await socket.close(code=TRY_LATER)


async def _refuse(scope: dict[str, Any], receive: Any, send: Any, status: int, sentence: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": sentence[:120]})
        return
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *HEADERS.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
