"""Who may not use the workers of a run: another user of the same machine."""

import os

import httpx
import pytest
from support.doors.neighbour import attack_dask, listening_ports

from flows.cluster.dask import dask_client
from flows.cluster.workers import ClusterPlan

pytestmark = pytest.mark.medium


def test_another_user_runs_no_code_by_any_port_of_a_cluster() -> None:
    with dask_client(ClusterPlan(workers=1)) as client:
        ports = listening_ports(os.getpid())
        assert set(ports.values()) == {"127.0.0.1"}
        ((worker, stated),) = client.scheduler_info()["workers"].items()
        for address in (client.scheduler.address, worker, stated["nanny"]):
            assert address.startswith("tls://127.0.0.1:")
            assert int(address.rsplit(":", 1)[1]) in ports
        assert attack_dask(ports) == []
        assert set(client.run(os.getuid).values()) == {os.getuid()}  # its owner does


def test_no_port_of_a_cluster_serves_a_page() -> None:
    with dask_client(ClusterPlan(workers=1)):
        for port in listening_ports(os.getpid()):
            for page in (
                "health",
                "metrics",
                "status",
                "info/main/workers.html",
                "json/counts.json",
            ):
                try:
                    answer = httpx.get(f"http://127.0.0.1:{port}/{page}", timeout=10)
                except httpx.TransportError:
                    continue  # it speaks TLS alone
                assert answer.status_code == 404, page
