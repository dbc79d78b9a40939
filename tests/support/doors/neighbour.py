"""Another user of this machine, who connects to what listens here and tries to run code.

Run as a program it reads ports from its arguments and prints what each one let it do.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from typing import Any

import psutil
from distributed.core import rpc
from distributed.protocol.pickle import dumps
from distributed.security import Security

NOBODY = 65534
_TRY_S = 4.0


def listening_ports(process: int) -> dict[int, str]:
    """Return the ports that a process and its children listen on, each with its address."""
    root = psutil.Process(process)
    return {
        found.laddr.port: found.laddr.ip
        for each in [root, *root.children(recursive=True)]
        for found in each.net_connections(kind="tcp")
        if found.status == psutil.CONN_LISTEN
    }


def attack_dask(ports: Collection[int]) -> list[str]:
    """Try to run code by each port, as another user where this one is root; return what worked."""
    done = subprocess.run(
        [sys.executable, "-m", "support.doors.neighbour", *map(str, ports)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: list[str] = json.loads(done.stdout)
    return found


def become_another_user() -> None:
    """Give up root for good; who is not root stays who he is, and has no secret either."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def _attempts(port: int) -> Iterator[tuple[str, Any]]:
    stranger = Security.temporary().get_connection_args("client")
    for scheme, connection in (("tcp", {}), ("tls", stranger)):
        for operation in ("run_function", "run"):  # of schedulers, and of workers and nannies
            yield f"{scheme}://127.0.0.1:{port} {operation}", (operation, connection)


async def _run_code(address: str, operation: str, connection: Any) -> str:
    remote = rpc(address, connection_args=connection, timeout=_TRY_S)
    try:
        call = getattr(remote, operation)
        answer = await asyncio.wait_for(
            call(function=dumps(os.getuid), args=dumps(()), kwargs=dumps({})), _TRY_S
        )
    except (OSError, TimeoutError, asyncio.CancelledError, ValueError):
        return ""
    finally:
        await remote.close_rpc()
    return f"ran code: {answer}"


async def _attack(tried: Collection[tuple[str, Any]]) -> list[str]:
    outcomes = await asyncio.gather(
        *(_run_code(name.split()[0], *attempt) for name, attempt in tried)
    )
    return [f"{name} {said}" for (name, _), said in zip(tried, outcomes, strict=True) if said]


if __name__ == "__main__":
    tried = [each for port in sys.argv[1:] for each in _attempts(int(port))]
    become_another_user()  # by now all is imported that he may have no right to read
    print(json.dumps(asyncio.run(_attack(tried))))  # noqa: T201
