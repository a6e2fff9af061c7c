"""Which server, as whom, with which keys."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from intercede.errors import ConfigurationError
from intercede.settings import Hop, SSHSettings
from intercede.transports.ssh_config import Target, resolve

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Target, ...]]:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()

    def found(text: str, **settings: Any) -> tuple[Target, ...]:
        (tmp_path / ".ssh" / "config").write_text(text)
        return resolve(SSHSettings(**settings))

    return found


def test_aliases_and_what_belongs_to_them(find: Callable[..., tuple[Target, ...]], tmp_path: Path) -> None:
    text = """
        Host cluster
            HostName login.example.org
            Port 2222
            User bob
            IdentityFile ~/.ssh/%r_key
            UserKnownHostsFile ~/.ssh/known_%h
            GlobalKnownHostsFile none
            IdentitiesOnly yes
            IdentityAgent none
            StrictHostKeyChecking no
        Host *
            User nobody
    """
    (target,) = find(text, host="cluster", agent_path=None)
    assert (target.alias, target.host, target.port, target.user) == ("cluster", "login.example.org", 2222, "bob")
    assert target.identities == ((tmp_path / ".ssh/bob_key", False),)
    assert target.known_hosts == (tmp_path / ".ssh/known_login.example.org",)
    assert target.only_identities
    assert target.agent is None


def test_our_settings_come_first(find: Callable[..., tuple[Target, ...]], tmp_path: Path) -> None:
    text = "Host *\n Port 2222\n User bob\n IdentityFile ~/theirs\n UserKnownHostsFile ~/theirs\n"
    (target,) = find(
        text,
        host="h",
        port=22,
        user="al",
        identity_files=(Path("~/ours"),),
        known_hosts=Path("~/known"),
        agent_path="/s",
    )
    assert (target.port, target.user, target.agent) == (22, "al", Path("/s"))
    assert target.identities == ((tmp_path / "ours", True), (tmp_path / "theirs", False))
    assert target.known_hosts == (tmp_path / "known",)


def test_an_empty_path_is_no_configuration(find: Callable[..., tuple[Target, ...]]) -> None:
    (target,) = find("Host *\n Port 2222\n ProxyJump x\n", host="h", config_file=Path())
    assert (target.port, target.user) == (22, getpass.getuser())


def test_no_file_of_the_users_is_not_no_check(find: Callable[..., tuple[Target, ...]]) -> None:
    (target,) = find("UserKnownHostsFile none\nGlobalKnownHostsFile /etc/known\n", host="h")
    assert target.known_hosts == (Path("/etc/known"),)


def test_default_identities_are_those_that_exist(find: Callable[..., tuple[Target, ...]], tmp_path: Path) -> None:
    (tmp_path / ".ssh/id_rsa").write_text("")
    (target,) = find("", host="h")
    assert target.identities == ((tmp_path / ".ssh/id_rsa", False),)


def test_jump_hosts_of_the_configuration(find: Callable[..., tuple[Target, ...]]) -> None:
    text = """
        Host inner
            ProxyJump al@gate:2200,[::1]:23
        Host gate
            HostName gate.example.org
            User ignored
            ProxyJump outer
        Host outer
            Port 99
    """
    chain = find(text, host="inner")
    assert [(t.host, t.port) for t in chain] == [("outer", 99), ("gate.example.org", 2200), ("::1", 23), ("inner", 22)]
    assert chain[1].user == "al"
    assert str(chain[2]).endswith("@[::1]:23")


def test_our_jump_hosts_replace_those_of_the_configuration(find: Callable[..., tuple[Target, ...]]) -> None:
    text = "Host inner\n ProxyJump other\n"
    assert [t.host for t in find(text, host="inner", jump=(Hop(host="a"), Hop(host="b")))] == ["a", "b", "inner"]
    assert [t.host for t in find(text, host="inner", jump=())] == ["inner"]


def test_a_circle_of_jump_hosts_is_an_error(find: Callable[..., tuple[Target, ...]]) -> None:
    with pytest.raises(ConfigurationError, match="circle"):
        find("Host a\n ProxyJump b\nHost b\n ProxyJump a\n", host="a")


def test_proxy_command_or_jump_whichever_comes_first(find: Callable[..., tuple[Target, ...]]) -> None:
    (target,) = find("ProxyCommand nc %h %p\nProxyJump gate\n", host="h")
    assert target.proxy_command == ("sh", "-c", "exec nc h 22")
    chain = find("Host h\n ProxyJump gate\nHost h\n ProxyCommand nc %h %p\n", host="h")
    assert [t.proxy_command for t in chain] == [None, None]
    (target,) = find("Host h\n ProxyJump none\nHost *\n ProxyCommand nc %h %p\n", host="h")
    assert target.proxy_command is None


def test_includes_are_read_in_order(find: Callable[..., tuple[Target, ...]], tmp_path: Path) -> None:
    for name in "cab":
        (tmp_path / ".ssh" / f"{name}.conf").write_text(f"User {name}\nIdentityFile ~/%r\n")
    (target,) = find("Include *.conf\nHost *\n HostName real\n", host="h")
    assert target.user == "a"
    assert [path.name for path, _ in target.identities] == ["a"]
    assert target.host == "real"


def test_an_include_of_itself_ends(find: Callable[..., tuple[Target, ...]]) -> None:
    with pytest.raises(ConfigurationError, match="too many levels"):
        find("Include config\n", host="h")


def test_match_exec_sees_the_host(find: Callable[..., tuple[Target, ...]]) -> None:
    text = 'Match exec "echo %h | grep -q near"\n User close\nMatch all\n User far\n'
    assert find(text, host="near")[0].user == "close"
    assert find(text, host="other")[0].user == "far"


def test_match_final_adds_and_does_not_replace(find: Callable[..., tuple[Target, ...]]) -> None:
    (target,) = find("Match final all\n Port 5\n User late\nHost h\n User early\n", host="h")
    assert (target.user, target.port) == ("early", 5)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("RevokedHostKeys ~/revoked", "RevokedHostKeys"),
        ("CanonicalizeHostname yes", "CanonicalizeHostname"),
        ("Match version OpenSSH_9", "Invalid match"),
        ("Port many", "integer"),
        ("IdentityFile ~/%Z", "token"),
        ("ProxyJump a:b:c", "ProxyJump"),
    ],
)
def test_what_we_cannot_do_is_said(find: Callable[..., tuple[Target, ...]], text: str, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        find(f"{text}\n", host="h")


def test_what_belongs_to_other_hosts_does_not_matter(find: Callable[..., tuple[Target, ...]]) -> None:
    (target,) = find("Host other\n RevokedHostKeys ~/revoked\n CanonicalizeHostname yes\n", host="h")
    assert target.host == "h"


def test_a_missing_configuration_file_is_an_error(find: Callable[..., tuple[Target, ...]]) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        find("", host="h", config_file=Path("/nonexistent/config"))


def test_all_but_the_last_are_hops(find: Callable[..., tuple[Target, ...]]) -> None:
    hops = find("Host inner\n ProxyJump outer\n", host="last", jump=(Hop(host="inner"),))
    assert [(hop.alias, hop.jump) for hop in hops] == [("outer", True), ("inner", True), ("last", False)]


def test_another_host_key_alias_is_another_connection(find: Callable[..., tuple[Target, ...]]) -> None:
    keys = {find(f"HostKeyAlias {alias}\n", host="h")[0].key for alias in ("one", "one", "two")}
    assert len(keys) == 2
