from pathlib import Path

import pytest

from intercede import config
from intercede.errors import ConfigurationError
from intercede.settings import ResourceSettings
from intercede.urls import BUILT_IN


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.chdir(tmp_path)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("url", "identifier", "scheduler", "queue"),
    [
        ("local:", "local", "process", None),
        ("process:", "local", "process", None),
        ("slurm:", "slurm", "slurm", None),
        ("slurm:///long", "slurm", "slurm", "long"),
        ("ssh+slurm://host", "ssh+slurm://host", "slurm", None),
        ("SSH+SLURM://alice@Login.Example.org:22/long/", "ssh+slurm://login.example.org", "slurm", "long"),
        ("ssh+slurm://MyAlias/long", "ssh+slurm://MyAlias", "slurm", "long"),
        ("ssh+process://host:2222", "ssh+process://host:2222", "process", None),
        ("ssh+slurm://[2001:DB8:0::1]:2022/", "ssh+slurm://[2001:db8::1]:2022", "slurm", None),
        ("ssh+slurm://host/a%2Bb", "ssh+slurm://host", "slurm", "a+b"),
    ],
)
def test_a_url_names_a_resource(url, identifier, scheduler, queue):
    settings = config.resolve(url)
    assert (settings.id, settings.scheduler, settings.queue) == (identifier, scheduler, queue)
    assert config.resolve(settings.id).id == identifier, "references must lead back to their resource"


def test_a_url_says_how_to_get_there():
    settings = config.resolve("ssh+slurm://al%40site@[::1]:2222/long?work_area=/scratch/al&account=astro")
    assert settings.ssh is not None
    assert (settings.ssh.user, settings.ssh.host, settings.ssh.port) == ("al@site", "::1", 2222)
    assert (settings.work_area, settings.account) == ("/scratch/al", "astro")
    bare = config.resolve("ssh+slurm://host").ssh
    assert bare is not None
    assert (bare.user, bare.port) == (None, None), "the OpenSSH configuration decides"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ssh+slrum://host", ["ssh+slrum", "'ssh+slurm'", "ssh+process"]),
        ("ssh+slurm://alice:hunter2@host", ["password", "identity_files"]),
        ("ssh+slurm://alice:hunter2?et@host", ["password", "//alice:...@host"]),
        ("ssh+slurm://alice:hunter2/et@host", ["password", "//alice:...@host"]),
        ("ssh+slurm://alice:hunter2#et@host", ["password", "//alice:...@host"]),
        ("ssh+slurm://alice:22?hunter2@host", ["password", "//alice:...@host"]),
        ("ssh+slurm:///long", ["no host"]),
        ("slurm://long", ["slurm:///long"]),
        ("ssh+slurm://host?workarea=/x", ["'workarea'", "'work_area'"]),
        ("ssh+slurm://host?password=hunter2", ["password"]),
        ("ssh+slurm://host?slots=1&slots=2", ["twice"]),
        ("ssh+slurm://host/a/b", ["a/b"]),
        ("ssh+slurm://host:70000", ["70000", "65535"]),
        ("ssh+slurm://[::1", ["IPv6"]),
        ("ssh+slurm://ho st", ["space"]),
        ("ssh+slurm://host#x", ["#"]),
        ("local:///long", ["no queues"]),
        ("ssh+slurm://-oProxyCommand=x", ["ssh.host"]),
        (f"arc://{'a' * 64}.example.org", ["endpoint.host", "63"]),
        ("arc://ce..example.org", ["endpoint.host", "63"]),
        ("ssh+slurm://host?slots=many", ["slots"]),
        ("alice@host", ["alice@host", "ssh+slurm"]),
    ],
)
def test_what_is_wrong_with_a_url(url, words):
    with pytest.raises(ConfigurationError) as caught:
        config.resolve(url)
    for word in words:
        assert word in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file(tmp_path):
    path = write(
        tmp_path,
        """
        [defaults]
        work_area = "~/jobs"
        limits.log_bytes = "1M"
        [defaults.ssh]
        connect_timeout = 5
        [resources.hpc]
        url = "ssh+slurm://alice@login.example.org/long"
        preamble = "module load x"
        limits.output_bytes = "5G"
        [resources.hpc.ssh]
        jump = ["bob@gate:23", {host = "gate2", identity_files = ["keys/id", "~/.ssh/id"]}]
        config_file = ""
        [resources.local]
        slots = 4
        """,
    )
    hpc = config.resolve("hpc", path)
    assert hpc.ssh is not None
    assert hpc.ssh.jump is not None
    assert (hpc.id, hpc.queue, hpc.work_area, hpc.preamble) == ("hpc", "long", "~/jobs", "module load x")
    assert (hpc.limits.output_bytes, hpc.limits.log_bytes) == (5 * 1024**3, 1024**2)
    assert hpc.ssh.connect_timeout == 5
    assert hpc.ssh.config_file == Path()
    first, second = hpc.ssh.jump
    assert (first.user, first.host, first.port) == ("bob", "gate", 23)
    assert second.identity_files == (tmp_path / "keys/id", tmp_path / ".ssh/id")
    assert config.resolve("local", path).slots == 4
    assert config.resolve("local:", path).slots == 4, "the same resource, however it is named"
    assert config.resolve("local", path).ssh is None
    assert config.resolve("ssh+slurm://host", path).work_area == "~/jobs", "the defaults are below URLs, too"
    assert config.load(path).names == ["hpc", *BUILT_IN]


def test_defaults_say_how_to_reach_those_that_are_reached_that_way(tmp_path):
    path = write(
        tmp_path,
        """
        [defaults.endpoint]
        ca = "certificates"
        [defaults.ssh]
        connect_timeout = 5
        [resources.ce]
        url = "htcondor-ce://ce.example.org"
        endpoint.retention = "1d"
        [resources.hpc]
        url = "ssh+slurm://login.example.org"
        """,
    )
    for url in ("ce", "arc://ce.example.org/long"):
        endpoint = config.resolve(url, path).endpoint
        assert endpoint is not None
        assert endpoint.ca == tmp_path / "certificates"
    assert config.resolve("ce", path).ssh is None
    for url in ("local", "slurm:", "hpc"):
        assert config.resolve(url, path).endpoint is None
    assert config.resolve("hpc", path).ssh is not None


def test_the_url_decides_about_the_queue_of_a_built_in_resource():
    tables = {"resources": {"slurm": {"queue": "short", "account": "astro"}}}
    settings = config.resolve("slurm:///long", tables)
    assert (settings.queue, settings.account) == ("long", "astro")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[resources.a]\nurl = 'slurm:'\nacount = 'x'", ["my.toml", "resources.a.acount", "line 3", "'account'"]),
        ("[resources.a]\nurl = 'ssh+slurm://h'\njump = []", ["resources.a.jump", "ssh.jump"]),
        ("[resources.a]\nurl = 'ssh+slurm://h'\n[resources.a.ssh]\nhots = 1", ["a.ssh.hots", "line 4", "'host'"]),
        ("[resources.a]\nurl='ssh+slurm://h'\nssh.password = 'hunter2'", ["ssh.password", "provider"]),
        ("[resources.a]\nurl = 'slurm:'\nslots = 'many'", ["resources.a.slots", "line 3"]),
        ("[resources.a]\nurl = 'slurm:'\nslots = 'many'\nqueeu = 'x'", ["slots", "queeu"]),
        ("[defaults]\nwork_aera = '/x'\n[resources.a]\nurl = 'slurm:'", ["defaults.work_aera", "line 2", "work_area"]),
        ("[resources.a]\nqueue = 'x'", ["resources.a", "line 1", "url"]),
        ("[resources.a]\nurl = 'slurm:'\nscheduler = 'process'", ["a.scheduler", "'process'", "'slurm'"]),
        ("[resources.a]\nscheduler = 'slrum'", ["scheduler", "slrum", "slurm"]),
        ("[resources.a]\nurl = 'slurm:'\nid = 'b'", ["'id'"]),
        ("[resources.'a:b']\nurl = 'slurm:'", ["a:b", "name"]),
        ("[resources.local]\nurl = 'ssh+slurm://h'", ["'local'", "another name"]),
        ("[resources.a]\nurl = 'local:'\nqueue = 'long'", ["no queues"]),
        ("[resource.a]\nurl = 'slurm:'", ["resource", "'resources'"]),
        ("[hpc]\nurl = 'slurm:'", ["[resources.hpc]"]),
        ("[defaults]\nurl = 'slurm:'", ["defaults.url"]),
        ("[defaults.endpoint]\ncaa = 'x'\n[resources.a]\nurl = 'arc://h'", ["defaults.endpoint.caa", "'ca'"]),
        ("resources = 1", ["[resources]"]),
        ("[resources]\na = 1", ["resources.a", "no table"]),
        ("[resources.a", ["no TOML"]),
        (
            "[resources.a]\nurl = 'ssh+slurm://h'\n[[resources.a.ssh.jump]]\nhost='b'\nusr='c'",
            ["jump[0].usr", "'user'"],
        ),
        ("[resources.a]\nurl = 'ssh+slurm://h'\nssh.jump = ['a b@:x']", ["user@host:port"]),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        config.load(path).settings("local" if "resources.local" in text else config.load(path).names[0])
    for word in words:
        assert word in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_one_wrong_table_does_not_spoil_the_others(tmp_path):
    path = write(tmp_path, "[resources.bad]\nurl = 'x'\n[resources.good]\nurl = 'slurm:'")
    assert config.resolve("good", path).scheduler == "slurm"


def test_an_unknown_name_gets_the_nearest(tmp_path):
    path = write(tmp_path, "[resources.hpc]\nurl = 'slurm:'")
    with pytest.raises(ConfigurationError, match="Did you mean 'hpc'"):
        config.resolve("hcp", path)


def test_a_file_that_anybody_may_write_is_refused(tmp_path):
    path = write(tmp_path, "")
    path.chmod(0o666)
    with pytest.raises(ConfigurationError, match="chmod"):
        config.load(path)


def test_the_users_own_file_is_the_default_and_need_not_exist(tmp_path):
    assert config.load().names == list(BUILT_IN)
    (tmp_path / "intercede.toml").write_text("[resources.here]\nurl = 'slurm:'")
    assert config.load().names == list(BUILT_IN), "the current directory is not read"
    config.default_path().parent.mkdir(parents=True)
    config.default_path().write_text("[resources.mine]\nurl = 'slurm:'")
    assert config.default_path() == tmp_path / "xdg/intercede/intercede.toml"
    assert config.load().names[0] == "mine"
    with pytest.raises(ConfigurationError, match="no such file"):
        config.load(tmp_path / "none.toml")


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "my.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"my\.toml"):
        config.load(path)


def test_the_agent_is_found_here_and_nowhere_else(monkeypatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/agent")
    table = {"url": "ssh+slurm://h", "id": "x"}
    found = config.resolve(table).ssh
    assert found is not None
    assert found.agent_path == Path("/tmp/agent")
    without = config.resolve(table | {"ssh": {"agent": False}}).ssh
    assert without is not None
    assert without.agent_path is None
    own = config.resolve(table | {"ssh": {"agent_path": "/run/other"}}).ssh
    assert own is not None
    assert own.agent_path == Path("/run/other")


def test_tables_and_settings_are_taken_as_they_are():
    settings = config.resolve({"id": "x", "scheduler": "slurm", "native": ["--exclusive"]})
    assert settings.native == ("--exclusive",)
    assert config.resolve(settings) is settings
    assert isinstance(settings, ResourceSettings)
    with pytest.raises(ConfigurationError, match="qeue"):
        config.resolve({"id": "x", "scheduler": "slurm", "qeue": "y"})


def test_a_longer_name_than_references_can_carry_is_refused():
    with pytest.raises(ConfigurationError, match="id"):
        config.resolve(f"ssh+slurm://{'a' * 130}.example.org")
