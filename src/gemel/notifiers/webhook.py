"""Webhook: news about findings as signed JSON to an address. Headers and signature follow Standard Webhooks 1.0
(standardwebhooks.com), which receivers have libraries for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from http.client import HTTPConnection, HTTPException, HTTPSConnection

import msgspec

from gemel.core.address import parted
from gemel.core.clock import Wall
from gemel.core.codec import jsonable
from gemel.core.errors import ConfigError, ConnectorError
from gemel.core.notice import Notice
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import SECOND
from gemel.notifiers.checks import PATIENCE, common, secret

PREFIX = "whsec_"


@declared
class Webhook:
    """Posts findings as they open, return and close to an address, as JSON.

    - `url`: where to, `https://...`; when it is a secret itself: `url = "${NAME}"`.
    - `least`: the severity from which on a finding is told (0 .. 1).
    - `secret_env`: the environment variable that holds the secret of the signature; "" leaves it out.
    - `gather`: after a message, what comes in this time goes into one.

    The body is `{"twin": ..., "news": [{"change": "opened", "finding": {...}}], "dropped": 0}`; a change is `opened`,
    `returned` or `closed`. Headers: `webhook-id` (the same when a message is sent again), `webhook-timestamp` and, with
    a secret, `webhook-signature`: `v1,` and the Base64 of the HMAC-SHA256 of `ID.TIMESTAMP.BODY`. A secret that begins
    with `whsec_` is Base64 behind it. Any answer but 2xx is a failure; redirections are not followed.
    """

    def __init__(self, url: str, least: float = 0.0, secret_env: str = "", gather: str = "1min") -> None:
        self.url, self.least, self.secret_env, self.gather = url, least, secret_env, gather
        self._split = parted(url)
        self._key = b""
        problems = common(least, gather)
        if self._split.scheme not in ("http", "https") or not self._split.hostname:
            problems.append("url is not http://host/path or https://host/path")
        elif self._split.username or self._split.password:
            problems.append("url must not hold a user or password: the secret is named by secret_env")
        if problems:
            raise ConfigError(problems)
        self.place = f"webhook {self._split.hostname}"

    def bind(self, setting: Setting) -> None:
        """Read the secret."""
        if not self.secret_env:
            return
        text = secret("secret_env", self.secret_env)
        try:
            own = text.startswith(PREFIX)
            self._key = base64.b64decode(text.removeprefix(PREFIX), validate=True) if own else text.encode()
        except binascii.Error:
            raise ConfigError([f"secret_env: {self.secret_env} is not Base64 behind {PREFIX}"]) from None

    def send(self, notice: Notice) -> None:
        news = [{"change": change, "finding": jsonable(finding)} for change, finding in notice.news]
        body = msgspec.json.encode({"twin": notice.twin, "news": news, "dropped": notice.dropped})
        headers = {"content-type": "application/json", "user-agent": "gemel", **self._signed(notice.id, body)}
        split = self._split
        kind = HTTPSConnection if split.scheme == "https" else HTTPConnection
        link = kind(split.hostname or "", split.port, timeout=PATIENCE)
        try:
            link.request("POST", (split.path or "/") + (f"?{split.query}" if split.query else ""), body, headers)
            status = link.getresponse().status
        except (OSError, HTTPException) as error:
            raise ConnectorError(f"{self.place} cannot be reached: {error}", "is the address right?") from error
        finally:
            link.close()
        if not 200 <= status < 300:
            raise ConnectorError(f"{self.place} answers {status}", "does it take these messages?")

    def _signed(self, id: str, body: bytes) -> dict[str, str]:
        time = str(Wall().now() // SECOND)
        headers = {"webhook-id": id, "webhook-timestamp": time}
        if self._key:
            found = hmac.new(self._key, f"{id}.{time}.".encode() + body, hashlib.sha256).digest()
            headers["webhook-signature"] = f"v1,{base64.b64encode(found).decode()}"
        return headers
