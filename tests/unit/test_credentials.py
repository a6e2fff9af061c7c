import os
from dataclasses import replace

import pytest

from intercede.credentials import (
    BearerToken,
    CondorToken,
    CredentialRequest,
    FileCredentials,
    SSHPassword,
    SSHPrivateKey,
    X509Proxy,
)
from intercede.errors import CredentialError


def wants(*kinds):
    return CredentialRequest("site", kinds)


@pytest.fixture
def file(tmp_path):
    def write(name, content, mode=0o600):
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(mode)
        return path

    return write


async def test_each_kind_comes_from_its_own_file(file):
    provider = FileCredentials(
        private_key=file("key", b"KEY"), password=file("word", b"open\r\nmore"), proxy=file("proxy", b"PEM\n"),
        token=file("token", b"ey.J\n"), condor_token=file("idtoken", b"ey.C"),
    )  # fmt: skip
    key = await provider.get(wants(SSHPrivateKey))
    assert isinstance(key, SSHPrivateKey)
    assert key.passphrase is not None
    assert (key.key.get_secret_value(), key.passphrase.get_secret_value()) == (b"KEY", "open")
    assert await provider.get(wants(SSHPassword)) is None, "it is the passphrase of the key"
    proxy = await provider.get(wants(X509Proxy))
    assert isinstance(proxy, X509Proxy)
    assert proxy.pem.get_secret_value() == b"PEM\n"
    # the first kind that is asked for
    for kinds, text in (((BearerToken, X509Proxy), "ey.J"), ((CondorToken, BearerToken), "ey.C")):
        token = await provider.get(wants(*kinds))
        assert isinstance(token, kinds[0])
        assert token.token.get_secret_value() == text
    assert "ey.J" not in repr(provider)
    assert await FileCredentials().get(wants(SSHPrivateKey, SSHPassword, X509Proxy, BearerToken, CondorToken)) is None


async def test_no_jump_host_is_told_the_password(file):
    provider = FileCredentials(password=file("word", b"s3cret"), token=file("token", b"ey.J"))
    asked = CredentialRequest("site", (SSHPassword, BearerToken), user="alice", host="gate:22", jump=True)
    assert isinstance(await provider.get(asked), BearerToken)
    assert isinstance(await provider.get(replace(asked, jump=False)), SSHPassword)


async def test_a_changed_file_is_read_again(file):
    path = file("token", b"one")
    provider = FileCredentials(token=path)
    first = await provider.get(wants(BearerToken))
    path.write_bytes(b"another")
    second = await provider.get(wants(BearerToken))
    assert isinstance(first, BearerToken)
    assert isinstance(second, BearerToken)
    assert (first.token.get_secret_value(), second.token.get_secret_value()) == ("one", "another")


async def test_files_that_will_not_do(file, tmp_path):
    for path, said in (
        (file("open", b"x", 0o640), "chmod 600"),
        (tmp_path / "missing", os.strerror(2)),
        (file("binary", b"\xff\xfe"), "UTF-8"),
    ):
        with pytest.raises(CredentialError, match=said) as caught:
            await FileCredentials(token=path).get(wants(BearerToken))
        assert str(path) in str(caught.value)
