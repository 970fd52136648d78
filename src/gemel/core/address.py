"""Addresses that somebody wrote."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit


def parted(address: str) -> SplitResult:
    """An address in its parts; all of them empty where it has no form, or a port that there is not."""
    try:
        found = urlsplit(address)
        _ = found.port, found.hostname
        return found
    except ValueError:
        return urlsplit("")
