"""Keys, and who is let in."""

from __future__ import annotations

from pathlib import Path

import pytest

from gemel.core.errors import ConfigError, InputError, NotFound
from gemel.trust.access import PENANCE, SESSION, TRIES, Failures, Keys, Sessions, check_address, known_host, same_origin


def test_a_key_is_shown_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "gemel.keys")
    text = keys.new("ann", ["read", "approve"], ["shed"])
    assert len(text) > 40
    assert text not in keys.path.read_text()
    assert keys.path.stat().st_mode & 0o777 == 0o600
    caller = keys.caller(text)
    assert caller is not None
    assert (caller.name, caller.may("approve", "shed")) == ("ann", True)
    assert not caller.may("propose", "shed")
    assert not caller.may("read", "barn")
    assert keys.caller(text + "x") is None
    assert keys.caller("") is None


def test_a_revoked_key_is_void_at_once_for_who_has_read_the_file(tmp_path: Path) -> None:
    here, there = Keys(tmp_path / "gemel.keys"), Keys(tmp_path / "gemel.keys")
    text = here.new("ann")
    assert there.caller(text) is not None
    here.revoke("ann")
    assert there.caller(text) is None
    with pytest.raises(NotFound, match="no key 'ann'"):
        here.revoke("ann")


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "gemel.keys")
    with pytest.raises(ConfigError, match="unknown scope 'raed', did you mean 'read'"):
        keys.new("ann", ["raed"])
    keys.new("ann")
    with pytest.raises(InputError, match="a key 'ann' already"):
        keys.new("ann")
    keys.path.chmod(0o644)
    with pytest.raises(ConfigError, match="may be read by others"):
        keys.all()
    keys.path.chmod(0o600)
    keys.path.write_text("[{}]")
    with pytest.raises(ConfigError, match="not a file of keys"):
        keys.all()


def test_wrong_keys_cost_a_wait_and_only_their_own_address() -> None:
    failures = Failures()
    for i in range(TRIES):
        assert failures.wait("a", i / 10) == 0
        failures.count("a", i / 10)
    assert failures.wait("a", 1.0) > PENANCE - 2
    assert failures.wait("b", 1.0) == 0
    assert failures.wait("a", PENANCE + 1) == 0


def test_a_session_stands_for_a_key_until_it_ends() -> None:
    sessions = Sessions()
    token = sessions.begin("key", 0.0)
    assert sessions.key(token, SESSION - 1)
    assert not sessions.key(token, SESSION)
    assert not sessions.key("", 0.0)
    sessions.end(token)
    assert not sessions.key(token, 1.0)


@pytest.mark.parametrize(
    ("host", "keyed", "tls", "proxy", "names", "trouble"),
    [
        ("127.0.0.1", False, False, "", (), ""),
        ("::1", False, False, "", (), ""),
        ("localhost", False, False, "", (), ""),
        ("127.0.0.1", False, False, "127.0.0.1", (), "no key yet"),
        ("127.0.0.1", False, False, "", ("twin.example.com",), "no key yet"),
        ("0.0.0.0", False, True, "", (), "no key yet"),
        ("::", True, False, "", (), "in the open"),
        ("plant.example.com", True, False, "", (), "in the open"),
        ("0.0.0.0", True, True, "", (), ""),
        ("10.0.0.5", True, False, "10.0.0.1", (), ""),
    ],
)
def test_others_are_let_in_with_a_key_and_a_cover_only(
    host: str, keyed: bool, tls: bool, proxy: str, names: tuple[str, ...], trouble: str
) -> None:
    if trouble:
        with pytest.raises(ConfigError, match=trouble):
            check_address(host, keyed, tls, proxy, names)
    else:
        check_address(host, keyed, tls, proxy, names)


@pytest.mark.parametrize(
    ("header", "known"),
    [
        ("127.0.0.1:8420", True),
        ("localhost", True),
        ("[::1]:8420", True),
        ("10.1.2.3", True),
        ("Twin.Example.com:443", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example@127.0.0.1x", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_a_server_knows_its_names(header: str, known: bool) -> None:
    assert known_host(header, ["twin.example.com"]) is known


@pytest.mark.parametrize(
    ("origin", "same"),
    [
        ("http://127.0.0.1:8420", True),
        ("https://127.0.0.1:8420", True),
        ("http://127.0.0.1:8421", False),
        ("http://evil.example", False),
        ("null", False),
        ("http://[", False),
        ("http://127.0.0.1:842000", False),
        ("", False),
    ],
)
def test_only_pages_of_this_server_may_ask(origin: str, same: bool) -> None:
    assert same_origin(origin, "127.0.0.1:8420") is same
