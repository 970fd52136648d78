"""Access: who may ask a served twin for what, and from where.

On a loopback address, without a file of keys, whoever reaches the port is the machine's own user and may do everything.
Anywhere else every caller shows a key. A key is shown once, when it is made; the file holds its SHA-256 (256 random
bits need no slow hash), the scopes, and the twins it is good for.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gemel.core.address import parted
from gemel.core.clock import Wall
from gemel.core.errors import ConfigError, InputError, NotFound, nearest
from gemel.core.units import instant_id

SCOPES = ("read", "simulate", "propose", "approve", "admin")
"""What a key may be good for. None includes another: a key that approves need not read."""
PREFIX = "gemel_"
TRIES, PENANCE = 10, 60.0  # wrong keys an address may show in so many seconds before it has to wait
SESSION = 12 * 3600.0  # seconds a browser stays logged in
_ADDRESSES = 10_000  # remembered at most


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who has been let in. `twins` empty: all of them."""

    name: str
    scopes: frozenset[str]
    twins: frozenset[str] = frozenset()

    def sees(self, twin: str) -> bool:
        """Whether this twin is any of the caller's business."""
        return not self.twins or twin in self.twins

    def may(self, scope: str, twin: str = "") -> bool:
        """Whether the caller may do what needs `scope`, with this twin or with the server itself."""
        return scope in self.scopes and (not twin or self.sees(twin))


LOCAL = Caller("local", frozenset(SCOPES))


@dataclass(frozen=True, slots=True)
class Key:
    """A line of the file of keys."""

    name: str
    hash: str
    scopes: tuple[str, ...]
    twins: tuple[str, ...] = ()
    made: str = ""

    def caller(self) -> Caller:
        """Who shows it."""
        return Caller(self.name, frozenset(self.scopes), frozenset(self.twins))


class Keys:
    """The keys in a file that only its owner may read. It is read again when it has changed: a key that is revoked is
    void at once, also for a server that runs."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._seen: tuple[int, int, int] | None = None
        self._held: tuple[Key, ...] = ()

    def all(self) -> tuple[Key, ...]:
        """Every key there is. Raises `ConfigError` for a file others may read, or that is not one of keys."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return ()
        if now.st_mode & 0o077:
            raise ConfigError([f"{self.path} may be read by others"], f"run: chmod 600 {self.path}")
        seen = (now.st_mtime_ns, now.st_size, now.st_ino)
        if seen != self._seen:
            try:
                self._held = tuple(msgspec.json.decode(self.path.read_bytes(), type=list[Key]))
            except (OSError, msgspec.DecodeError) as error:
                raise ConfigError(
                    [f"{self.path} is not a file of keys: {error}"], "make keys: gemel key new NAME"
                ) from None
            self._seen = seen
        return self._held

    def new(self, name: str, scopes: Sequence[str] = ("read",), twins: Sequence[str] = ()) -> str:
        """Make a key and return it; nobody can look it up later."""
        granted = scoped(scopes)
        if not name or not scopes:
            raise InputError("a key needs a name and a scope", "gemel key new NAME --scopes read")
        if any(key.name == name for key in self.all()):
            raise InputError(f"there is a key '{name}' already", f"choose another name, or: gemel key revoke {name}")
        text = PREFIX + secrets.token_urlsafe(32)
        key = Key(name, digest(text), granted, tuple(twins), instant_id(Wall().now()))
        self._write([*self.all(), key])
        return text

    def revoke(self, name: str) -> None:
        """Make a key void; raises `NotFound`."""
        held = self.all()
        left = [key for key in held if key.name != name]
        if len(left) == len(held):
            raise NotFound(f"there is no key '{name}' in {self.path}{nearest(name, [k.name for k in held])}")
        self._write(left)

    def caller(self, text: str) -> Caller | None:
        """Who shows this key, None when it is nobody's. Takes as long for a wrong key as for a right one."""
        return self.held(digest(text))

    def held(self, shown: str) -> Caller | None:
        """The same for the hash of a key."""
        found = None
        for key in self.all():
            if hmac.compare_digest(key.hash, shown):
                found = key
        return found.caller() if found else None

    def _write(self, keys: Iterable[Key]) -> None:
        new = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}.new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(list(keys)), indent=1) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.path)


def scoped(scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes, each once. Raises `ConfigError` for one there is not."""
    held = tuple(dict.fromkeys(scopes))
    if wrong := [f"unknown scope '{s}'{nearest(s, SCOPES)}" for s in held if s not in SCOPES]:
        raise ConfigError(wrong, f"scopes: {', '.join(SCOPES)}")
    return held


def digest(text: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Failures:
    """Who has shown wrong keys lately. Times are seconds of a clock that only goes forward."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()  # address -> (since, how many)

    def wait(self, address: str, now: float) -> float:
        """Seconds until this address may try again; 0: now."""
        since, count = self._seen.get(address, (now, 0))
        return max(since + PENANCE - now, 0.0) if count >= TRIES else 0.0

    def count(self, address: str, now: float) -> None:
        """One more wrong key."""
        since, count = self._seen.pop(address, (now, 0))
        if now - since > PENANCE:
            since, count = now, 0
        self._seen[address] = (since, count + 1)
        if len(self._seen) > _ADDRESSES:
            self._seen.popitem(last=False)


class Sessions:
    """Browsers that have shown a key once: a token stands for it, until its time is over or the process ends."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, tuple[str, float]] = OrderedDict()  # hash of the token -> (that of the key, until)

    def begin(self, key: str, now: float) -> str:
        """A new token for this key."""
        token = secrets.token_urlsafe(32)
        self._held[digest(token)] = (digest(key), now + SESSION)
        if len(self._held) > _ADDRESSES:
            self._held.popitem(last=False)
        return token

    def key(self, token: str, now: float) -> str:
        """The hash of the key a token stands for; "" for none."""
        key, until = self._held.get(digest(token), ("", now))
        return key if now < until else ""

    def end(self, token: str) -> None:
        """The token stands for nothing any more."""
        self._held.pop(digest(token), None)


# -- addresses ---------------------------------------------------------------------------------------------------------


def loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_address(host: str, keyed: bool, tls: bool = False, proxy: str = "", names: Sequence[str] = ()) -> None:
    """Raises `ConfigError` for an address that others reach, when there is no key, or nothing hides the keys. Behind a
    proxy, or by a name, others reach also what listens on loopback."""
    if loopback(host) and not proxy and not names:
        return
    if not keyed:
        raise ConfigError(
            [f"others reach {proxy or host}, and there is no key yet"],
            "make one first: gemel key new NAME --scopes read; or listen on 127.0.0.1",
        )
    if not tls and not proxy and not loopback(host):
        raise ConfigError(
            [f"others reach {host}, and keys would travel in the open"],
            "give --tls CERT KEY, or --proxy ADDRESS of the proxy that ends TLS; or listen on 127.0.0.1",
        )


def known_host(header: str, names: Iterable[str]) -> bool:
    """Whether a request's Host header names this server: an address, `localhost` or one of `names`.

    A page of somebody else reaches a server on this machine by letting its own name point here (DNS rebinding); its
    requests carry that name."""
    host = parted(f"//{header}").hostname or ""
    if host == "localhost" or host in {name.lower() for name in names}:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def same_origin(origin: str, host: str) -> bool:
    """Whether a page of `origin` came from the server that the request's Host header names."""
    return parted(origin).netloc.lower() == host.lower() != ""
