"""Other processes and servers: wait for what they do, and listen to what they post."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil

from flows.cluster.workers import TlsFiles


def wait_until(condition: Callable[[], object], limit_s: float = 120.0) -> bool:
    """Return whether ``condition`` came true before the limit, which only a fault should reach."""
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def free_port() -> int:
    """Return a port that was free a moment ago, for programs that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def workers_of(process: Any) -> int:
    """Count the worker processes below a run, whatever `ps` would make of long paths."""
    try:
        children = psutil.Process(process.pid).children()
        return sum("spawn_main" in " ".join(child.cmdline()) for child in children)
    except psutil.NoSuchProcess:  # a child may end between being listed and being read
        return 0


@dataclass
class Listener:
    """Messages posted to ``url``; ``statuses`` are answered in turn, then 200.

    Until ``may_answer`` is set, nothing is answered; ``location`` is where answers point to, and
    ``hosts`` are the names under which it was called.
    """

    statuses: list[int] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    location: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)

    def named(self, event: str) -> list[dict[str, Any]]:
        return [message for message in self.got if message["event"] == event]


@contextmanager
def listening(
    *statuses: int, is_silent: bool = False, certificate: TlsFiles | None = None
) -> Iterator[Listener]:
    """Listen on a free port until the block ends; one that is silent answers nobody till then."""
    noted = Listener(list(statuses))
    if not is_silent:
        noted.may_answer.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            noted.got.append(json.loads(body))
            noted.hosts.append(self.headers["Host"])
            noted.may_answer.wait()
            self.send_response(noted.statuses.pop(0) if noted.statuses else 200)
            if noted.location:
                self.send_header("Location", noted.location)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(str(certificate.certificate), certificate.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if certificate is None else "https"
    noted.url = f"{scheme}://127.0.0.1:{server.server_address[1]}/webhook"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield noted
    finally:
        noted.may_answer.set()
        server.shutdown()
        server.server_close()
