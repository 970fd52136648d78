"""Which language model answers. Address, key and name of the model come from the environment and never from a request:
nobody can make the server call an address of theirs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from gemel.core.address import parted
from gemel.core.errors import ConfigError

URL, KEY, MODEL = "GEMEL_CHAT_URL", "GEMEL_CHAT_KEY", "GEMEL_CHAT_MODEL"
HOW = f"start the server with {URL} (such as http://127.0.0.1:11434/v1), {MODEL}, and {KEY} where one is needed"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the language model is. Raises `ConfigError` for an address that is none."""

    url: str
    model: str
    key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        parts = parted(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError([f"{URL} is not an address"], HOW)
        if not self.model:
            raise ConfigError([f"{MODEL} is not set"], HOW)


def configured(environment: Mapping[str, str] = os.environ) -> Endpoint | None:
    """The endpoint of the environment, if there is one."""
    if not environment.get(URL):
        return None
    url = environment[URL].rstrip("/").removesuffix("/chat/completions")
    return Endpoint(url, environment.get(MODEL, ""), environment.get(KEY, ""))
