"""The guard before every door: HTTP and WebSocket alike, whatever stands behind it.

In this order: is the request meant for us (Host), does a page of ours ask (Origin), has this address shown too many
wrong keys, who is it, may they do that, is the body small enough. What changes something, or was to, is in the audit
before it is done and again with what came of it; what cannot be audited is not done.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from http.cookies import CookieError, SimpleCookie
from typing import Any

import msgspec

from gemel.core.clock import ticks
from gemel.core.errors import ConfigError, GemelError
from gemel.serve.http.bodies import LARGEST, Refused, read, replayed
from gemel.trust.access import LOCAL, Caller, Failures, Keys, Sessions, digest, known_host, same_origin
from gemel.trust.audit import Audit

log = logging.getLogger("gemel")
Asgi = Callable[[Any, Any, Any], Awaitable[None]]
SLOWEST = 10.0
"""Seconds a body may take to come."""
MOST = 256
"""Requests answered at the same time; more are told to come back."""
CHANGES = ("propose", "approve", "admin")
"""Scopes of what changes something."""
SESSION = "/v1/session"
LOGIN_S = 2.0
"""Seconds the body of a login may take: nobody who sends one is known yet."""
COOKIE = "gemel_session"
POLICY = {
    "default-src": "'self'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
HEADERS = [
    (b"content-security-policy", "; ".join(f"{what} {where}" for what, where in POLICY.items()).encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


@dataclass(frozen=True, slots=True)
class Right:
    """Which scope a path needs; "" none at all. A group `twin` in the pattern says whose it is. `limit`: bytes of a
    body; None where what stands there reads and bounds it itself."""

    method: str
    pattern: re.Pattern[str]
    scope: str
    limit: int | None = LARGEST

    @staticmethod
    def of(method: str, path: str, scope: str) -> Right:
        """From a path with {names}."""
        pattern = "".join(
            f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part)
            for part in re.split(r"(\{\w+\})", path)
        )
        return Right(method, re.compile(pattern), scope)


class Guard:
    """Stands before `app`. `keys` None: whoever reaches the port may do everything. A path without a `Right` is not
    there, whatever `app` has."""

    def __init__(
        self,
        app: Asgi,
        rights: Iterable[Right],
        audit: Audit,
        keys: Keys | None = None,
        names: Iterable[str] = (),
        counts: Counter[int] | None = None,
        slowest_s: float = SLOWEST,
    ) -> None:
        self._app, self._audit, self._keys, self._slowest_s = app, audit, keys, slowest_s
        self.rights = tuple(rights)
        self._known_host = lru_cache(256)(partial(known_host, names=tuple(names)))
        self._failures, self._strangers, self._sessions = Failures(), Failures(), Sessions()
        self._busy = 0
        self.counts: Counter[int] = Counter() if counts is None else counts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        status = 0

        async def sent(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                held = message.setdefault("headers", [])
                message["headers"] = [*held, *HEADERS, *_uncached(held)]
            await send(message)

        self._busy += scope["type"] == "http"
        try:
            await self._passed(scope, receive, sent)
        except Refused as refused:
            status = refused.status
            await _refuse(scope, receive, sent, refused)
        finally:
            self._busy -= scope["type"] == "http"
            self.counts[status] += scope["type"] == "http"

    async def _passed(self, scope: Any, receive: Any, send: Any) -> None:
        headers = _headers(scope)
        address = (scope.get("client") or ("",))[0]
        if self._busy > MOST:
            raise Refused(503, "too many requests at once", "try again in a moment", [(b"retry-after", b"1")])
        self._ours(headers)
        method = scope["method"] if scope["type"] == "http" else "WEBSOCKET"
        if method == "HEAD":  # as GET; what carries the answer leaves its body out
            method, scope = "GET", {**scope, "method": "GET"}
        if scope["path"] == SESSION and method in ("POST", "DELETE"):
            await self._session(scope, receive, send, headers, address)
            return
        right, twin = self._right(method, scope["path"])
        action = {"action": f"{method} {scope['path']}"[:300], "twin": twin[:200], "address": address}
        changes = right is not None and right.scope in CHANGES
        try:
            caller = self._let_in(right, twin, headers, address)
            if right is None:
                raise self._absent(scope["path"])
        except Refused as refused:
            if changes and refused.status != 429 and self._worth_noting(refused, headers, address):
                await self._write(**action, caller=self._name(headers), verdict="denied", status=refused.status)
            raise
        scope["gemel.caller"] = caller
        bare = method == "GET" and not headers.keys() & {"content-length", "transfer-encoding"}
        if scope["type"] == "websocket":
            await self._app(scope, receive, self._while(lambda: self._let_in(right, twin, headers, address), send))
            return
        if right.limit is None or bare:
            await self._app(scope, receive, send)
            return
        patience_s = max(self._slowest_s, right.limit / LARGEST)  # where much may come: a second a MiB
        body = await read(receive, headers, patience_s, right.limit)
        if not changes:
            await self._app(scope, replayed(body, receive), send)
            return
        plain = "octet-stream" not in headers.get("content-type", "")
        text = body[:2000].decode("utf-8", "replace") if plain else f"{len(body):,} bytes"
        n = await self._write(**action, caller=caller.name, verdict="allowed", asked=text)
        done = 500

        async def noted(message: Any) -> None:
            nonlocal done
            done = message.get("status", done)
            await send(message)

        try:
            await self._app(scope, replayed(body, receive), noted)
        finally:
            with suppress(Refused):  # it is done, and answered; that it could not be noted is in the log
                await self._write(verdict="done", of=n, status=done)

    @staticmethod
    def _while(let_in: Callable[[], Caller], send: Any) -> Any:
        """A `send` for a WebSocket that closes it when its key is void meanwhile; asked once a second."""
        asked = ticks()

        async def kept(message: Any) -> None:
            nonlocal asked
            if message["type"] == "websocket.send" and ticks() - asked > 1:
                asked = ticks()
                try:
                    let_in()
                except Refused:
                    await send({"type": "websocket.close", "code": 1008})
                    raise OSError("the key is void") from None
            await send(message)

        return kept

    def _let_in(self, right: Right | None, twin: str, headers: Mapping[str, str], address: str) -> Caller:
        if right is not None and not right.scope:
            return LOCAL
        caller = self._caller(headers, address)
        if right is not None and not caller.may(right.scope, twin):
            raise Refused(
                403,
                f"the key '{caller.name}' is not good for that",
                f"it takes the scope {right.scope}{twin and f' of {twin}'}",
            )
        return caller

    def _worth_noting(self, refused: Refused, headers: Mapping[str, str], address: str) -> bool:
        """Whether a denial is written down: of those without a key only the first, or they could fill the disk."""
        if refused.status != 401 or _key(headers):
            return True
        if self._strangers.wait(address, ticks()):
            return False
        self._strangers.count(address, ticks())
        return True

    def _absent(self, path: str) -> Refused:
        methods = {right.method for right in self.rights if right.pattern.fullmatch(path)} - {"WEBSOCKET"}
        if methods:
            methods |= {"HEAD"} if "GET" in methods else set()
            allowed = ", ".join(sorted(methods))
            return Refused(
                405, f"{path} is not asked in that way", f"it takes {allowed}", [(b"allow", allowed.encode())]
            )
        return Refused(404, f"there is nothing at {path}", "the API is described in /v1/openapi.json")

    def _ours(self, headers: Mapping[str, str]) -> None:
        host = headers.get("host", "")
        if not self._known_host(host):
            raise Refused(403, f"this server is not known as '{host[:100]}'", "gemel serve --name NAME makes it known")
        origin = headers.get("origin")
        if origin is not None and not same_origin(origin, host):
            raise Refused(403, f"a page of {origin[:100]} may not ask this server", "only its own pages may")

    def _right(self, method: str, path: str) -> tuple[Right | None, str]:
        for right in self.rights:
            if right.method == method and (found := right.pattern.fullmatch(path)):
                return right, found.groupdict().get("twin", "")
        return None, ""

    def _caller(self, headers: Mapping[str, str], address: str) -> Caller:
        if self._keys is None:
            return LOCAL
        self._patient(address)
        if found := self._sessions.key(_cookie(headers), ticks()):
            caller = self._known(lambda keys: keys.held(found))
        else:
            key = _key(headers)
            if not key:
                raise Refused(401, "a key is needed", "send it: Authorization: Bearer KEY", [_BEARER])
            caller = self._known(lambda keys: keys.caller(key))
        if caller is None:
            if not found:  # a page whose key was revoked meanwhile does not guess
                self._failures.count(address, ticks())
            raise Refused(401, "this key is not known here", "was it revoked? gemel key list", [_BEARER])
        return caller

    def _known(self, find: Callable[[Keys], Caller | None]) -> Caller | None:
        assert self._keys is not None
        try:
            return find(self._keys)
        except ConfigError as error:  # somebody has spoilt the file while the server runs
            log.error("%s", error)
            raise Refused(503, "the file of keys cannot be read", "the log has the details") from None

    def _patient(self, address: str) -> None:
        if rest := self._failures.wait(address, ticks()):
            wait = str(int(rest) + 1).encode()
            raise Refused(429, "too many wrong keys from this address", "wait a minute", [(b"retry-after", wait)])

    def _name(self, headers: Mapping[str, str]) -> str:
        """Who was refused, where that is known."""
        try:
            found = self._sessions.key(_cookie(headers), ticks()) or digest(_key(headers))
            caller = self._keys.held(found) if self._keys else None
        except ConfigError:
            caller = None
        return caller.name if caller else ""

    async def _session(self, scope: Any, receive: Any, send: Any, headers: Mapping[str, str], address: str) -> None:
        """Log a browser in with a key, or out: afterwards a cookie that no script can read stands for the key."""
        cookie = b""
        if scope["method"] == "DELETE":
            self._sessions.end(_cookie(headers))
            cookie = f"{COOKIE}=; Path=/; Max-Age=0".encode()
        else:
            self._patient(address)
            try:
                body = await read(receive, headers, min(self._slowest_s, LOGIN_S))
                key = str(msgspec.json.decode(body, type=dict[str, Any])["key"])
            except (msgspec.DecodeError, KeyError):
                raise Refused(422, "the body has no key", 'send {"key": "gemel_..."}') from None
            caller = LOCAL if self._keys is None else self._known(lambda keys: keys.caller(key))
            what = {"action": f"POST {SESSION}", "address": address}
            if caller is None:
                self._failures.count(address, ticks())
                await self._write(**what, caller="", verdict="denied", status=401)
                raise Refused(401, "this key is not known here", "was it revoked? gemel key list")
            await self._write(**what, caller=caller.name, verdict="allowed")
            token = self._sessions.begin(key, ticks())
            secure = "; Secure" if scope.get("scheme") == "https" else ""
            cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict{secure}".encode()
        await send({"type": "http.response.start", "status": 204, "headers": [(b"set-cookie", cookie)]})
        await send({"type": "http.response.body", "body": b""})

    async def _write(self, **what: Any) -> int:
        try:
            return await asyncio.to_thread(self._audit.write, **what)
        except GemelError as error:
            log.error("%s", error)
            raise Refused(503, error.message, error.hint) from None


_BEARER = (b"www-authenticate", b"Bearer")


def _headers(scope: Any) -> dict[str, str]:
    """Header -> value, by lower-case name; of one that comes twice the first."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return found


def _key(headers: Mapping[str, str]) -> str:
    """The key that is shown; a browser's WebSocket, which has no headers of its own, shows it as a subprotocol."""
    kind, _, key = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return key.strip()
    offered = [p.strip() for p in headers.get("sec-websocket-protocol", "").split(",")]
    return next((p.removeprefix("bearer.") for p in offered if p.startswith("bearer.")), "")


def _cookie(headers: Mapping[str, str]) -> str:
    try:
        held = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return held.value if held else ""


def _uncached(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    said = any(name.lower() == b"cache-control" for name, _ in headers)
    return [] if said else [(b"cache-control", b"no-store")]


async def _refuse(scope: Any, receive: Any, send: Any, refused: Refused) -> None:
    kind = "http"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        kind = "websocket.http"
    size = str(len(refused.body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", size), *refused.headers]
    await send({"type": f"{kind}.response.start", "status": refused.status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": refused.body})
