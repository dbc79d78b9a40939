"""Who may not use the Prefect server of a run, or of a schedule: whoever has not its secret."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.cluster.prefect_server import (
    SECRET_FILE,
    ControlPlane,
    EmbeddedServer,
    control_plane,
    kept_secret,
    scheduling_server,
)
from flows.errors import CampaignError
from model.errors import MachineError

pytestmark = [pytest.mark.medium, pytest.mark.slow]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home") / "prefect"


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[EmbeddedServer]:
    with scheduling_server(home) as server:
        server.wait()
        yield server


def used_with(address: str, secret: str | None) -> Any:
    return temporary_settings({PREFECT_API_URL: address, PREFECT_API_AUTH_STRING: secret})


@pytest.mark.parametrize("secret", [None, "sabatier:wrong"])
def test_who_has_not_the_secret_makes_no_deployment_and_starts_no_run(
    server: EmbeddedServer, secret: str | None
) -> None:
    auth = tuple(secret.split(":")) if secret else None
    for path, content in (
        ("flows/", {"name": "attack"}),
        ("work_pools/", {"name": "attack", "type": "process"}),
        ("deployments/", {"name": "attack", "flow_id": "0" * 32, "entrypoint": "os.system"}),
        ("flow_runs/", {"flow_id": "0" * 32}),
        ("deployments/filter", {}),
    ):
        answer = httpx.post(f"{server.api_url}/{path}", json=content, auth=auth)
        assert answer.status_code == 401, path
        assert server.secret not in answer.text


def test_who_has_the_secret_uses_the_server(server: EmbeddedServer) -> None:
    with temporary_settings(server.client_settings), get_client(sync_client=True) as client:
        assert client.create_flow_from_name("ours")


def test_the_secret_is_in_no_command_and_in_no_log(server: EmbeddedServer) -> None:
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        assert server.secret not in " ".join(process.cmdline())
    assert server.secret not in server.log.read_text()
    assert server.secret not in repr(server)


def test_the_secret_is_kept_in_a_file_of_this_user_alone(
    server: EmbeddedServer, home: Path
) -> None:
    file = home / SECRET_FILE
    assert file.read_text().strip() == server.secret
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@pytest.mark.parametrize("secret", [None, "sabatier:wrong"])
def test_a_server_that_wants_another_secret_is_one_line_at_the_start(
    server: EmbeddedServer, secret: str | None
) -> None:
    fault = "the one given is not it" if secret else "none is given"
    with (
        used_with(server.api_url, secret),
        pytest.raises(CampaignError, match=f"{fault}; set PREFECT_API_AUTH_STRING") as refused,
        control_plane(server.api_url),
    ):
        pass
    assert "\n" not in str(refused.value)
    assert server.secret not in str(refused.value)
    assert str(secret) not in str(refused.value)


def test_a_configured_server_with_its_secret_is_used(server: EmbeddedServer) -> None:
    with used_with(server.api_url, server.secret), control_plane(server.api_url) as plane:
        assert plane == ControlPlane(address=server.api_url)


def test_a_secret_that_is_missing_is_made_anew(tmp_path: Path) -> None:
    first = kept_secret(tmp_path)
    assert kept_secret(tmp_path) == first
    (tmp_path / SECRET_FILE).unlink()
    assert kept_secret(tmp_path) not in ("", first)


def test_without_a_free_port_the_way_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: object, **__: object) -> None:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr("socket.create_server", taken)
    with (
        pytest.raises(CampaignError, match=r"needs a free port on 127\.0\.0\.1, there is none"),
        scheduling_server(tmp_path / "prefect"),
    ):
        pass


def test_a_proxy_of_the_environment_never_sees_the_secret(
    home: Path, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "intranet")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with used_with(server.api_url, server.secret), control_plane(server.api_url):
        assert os.environ["no_proxy"] == "intranet,127.0.0.1,localhost"
        with get_client(sync_client=True) as client:
            assert client.hello().status_code == 200


def test_a_home_serves_one_server(home: Path, server: EmbeddedServer) -> None:
    with pytest.raises(MachineError, match="a Prefect server"), scheduling_server(home):
        pass
