"""E-mail: news about findings as plain text, over SMTP."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from ipaddress import ip_address
from smtplib import SMTP, SMTP_SSL, SMTPException

from gemel.core.address import parted
from gemel.core.clock import Wall
from gemel.core.errors import ConfigError, ConnectorError
from gemel.core.notice import Notice
from gemel.core.registry import declared
from gemel.core.setting import Setting
from gemel.core.units import SECOND, stamp
from gemel.notifiers.checks import PATIENCE, common, secret

_PORTS = {"smtp": 587, "smtps": 465}
SUBJECT = 120


@declared
class Email:
    """Sends findings as they open, return and close by e-mail, many of a minute in one.

    - `to`: addresses; `sender`: the address it is from.
    - `server`: `smtp://host:587` (STARTTLS where the server has it) or `smtps://host:465`.
    - `least`: the severity from which on a finding is told (0 .. 1).
    - `user`, `password_env`: the name to log in with, and the environment variable that holds the password; it is
      never sent unencrypted, except to this machine.
    - `gather`: after a message, what comes in this time goes into one.
    """

    def __init__(
        self,
        to: Sequence[str],
        server: str,
        sender: str,
        least: float = 0.0,
        user: str = "",
        password_env: str = "",
        gather: str = "1min",
    ) -> None:
        self.to, self.server, self.sender, self.least = to, server, sender, least
        self.user, self.password_env, self.gather = user, password_env, gather
        self._split = parted(server)
        self._password = ""
        problems = common(least, gather)
        listed = not isinstance(to, str) and len(to) > 0 and all(isinstance(one, str) for one in to)
        if not listed:
            problems.append(f'to: a list of addresses is needed, such as ["ann@example.com"], not {to!r}')
        for address in (*(to if listed else ()), sender):
            if "@" not in parseaddr(address)[1] or len(address.splitlines()) > 1:
                problems.append(f"'{address}' is not an address")
        if self._split.scheme not in _PORTS or not self._split.hostname:
            problems.append(f"server '{server}' is not smtp://host:port or smtps://host:port")
        elif self._split.username or self._split.password:
            problems.append("server must not hold a user or password: write user and password_env")
        if bool(user) != bool(password_env):
            problems.append("user and password_env belong together")
        if problems:
            raise ConfigError(problems)
        self.place = f"email {', '.join(to)}"

    def bind(self, setting: Setting) -> None:
        """Read the password."""
        if self.password_env:
            self._password = secret("password_env", self.password_env)

    def send(self, notice: Notice) -> None:
        try:
            self._deliver(_message(notice, self.to, self.sender))
        except (OSError, SMTPException) as error:
            raise ConnectorError(
                f"{self.server} has not taken an e-mail: {error}", "is it the right server?"
            ) from error

    def _deliver(self, message: EmailMessage) -> None:
        host, port = self._split.hostname or "", self._split.port or _PORTS[self._split.scheme]
        secure, context = self._split.scheme == "smtps", ssl.create_default_context()
        with (
            SMTP_SSL(host, port, timeout=PATIENCE, context=context)
            if secure
            else SMTP(host, port, timeout=PATIENCE) as link
        ):
            link.ehlo()
            if not secure and link.has_extn("starttls"):
                link.starttls(context=context)
                link.ehlo()
                secure = True
            if self.user:
                if not secure and not _here(host):
                    raise SMTPException("it has no encryption, so the password is not sent")
                link.login(self.user, self._password)
            link.send_message(message)


def _message(notice: Notice, to: Sequence[str], sender: str) -> EmailMessage:
    """Subject: how many, and the first; text: a paragraph a finding, the newest news last."""
    change, first = notice.news[0]
    what = f"{change}: {first.name} ({first.subject})"
    many = f"{len(notice.news)} findings, " if len(notice.news) > 1 else ""
    message = EmailMessage()
    message["Subject"] = " ".join(f"[{notice.twin}] {many}{what}".split())[:SUBJECT]
    message["From"], message["To"] = sender, ", ".join(to)
    message["Date"] = formatdate(Wall().now() / SECOND)
    message["Message-ID"] = f"<{notice.id}@gemel>"
    lines = []
    for change, finding in notice.news:
        lines.append(f"{change}: {finding.name} ({finding.subject}), severity {finding.severity:.2g}")
        until = "" if change != "closed" else f" until {stamp(finding.time)}"
        lines.append(f"  since {stamp(finding.start)}{until} UTC")
        lines += [f"  {finding.text}"] if finding.text else []
        lines.append("")
    lines += [f"{notice.dropped} more findings could not be kept for this message."] if notice.dropped else []
    message.set_content("\n".join(lines))
    return message


def _here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
