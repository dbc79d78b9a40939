"""Who may not use the workers of a run: another user of the same machine."""

import os

import httpx
import pytest
from dask.distributed import LocalCluster
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


def test_the_attack_gets_in_where_there_are_no_certificates() -> None:
    quiet = {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", **quiet) as cluster:
        hits = attack_dask(listening_ports(os.getpid()))
        for address in (cluster.scheduler.address, cluster.workers[0].worker_address):
            assert any(hit.startswith(f"{address} run") for hit in hits), hits
        assert any("'status': 'OK', 'result': " in hit for hit in hits), hits  # a user id


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
