"""Which workers a run takes, what they compute on, and the variables they start with.

Starts nothing and imports neither Dask nor, before it has to count GPUs, torch.
"""

import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flows.errors import CampaignError
from tasks.verification.engines.launch import thread_variables

Cuda = bool | Literal["auto"]
# "auto" is for the workers of a cluster that is there already: each one looks for its own GPU.
Device = Literal["cpu", "cuda", "auto"]

MAX_WORKERS = 4096  # of one machine; more are a mistake in typing
# glibc's. Dask asks for 64 KiB, and without any it would be 128: each tensor that is larger is
# given back to the system as it is freed, and its pages are faulted in anew by the next.
_KEPT_MEMORY = {"MALLOC_TRIM_THRESHOLD_": "1073741824", "MALLOC_MMAP_THRESHOLD_": "33554432"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TlsFiles:
    """Certificates for a scheduler at a tls:// address; without a key it is in ``certificate``.

    Where none is given, Dask's own configuration names them.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class ClusterPlan:
    """Which workers a run takes: those at ``address``, or processes that it starts.

    ``workers`` counts processes on CPU cores; with GPUs there is one for each GPU. ``insecure`` is
    the consent to an address without certificates.
    """

    workers: int
    address: str | None = None
    cuda: Cuda = "auto"
    tls: TlsFiles = TlsFiles()
    insecure: bool = False

    def __post_init__(self) -> None:
        if self.workers > MAX_WORKERS:
            raise CampaignError(
                f"a run starts {MAX_WORKERS:,} worker processes at most, got {self.workers:,}; "
                "correct cluster.workers of the campaign, --workers or SABATIER_WORKERS"
            )


def default_workers() -> int:
    """Return how many processes this machine has cores for."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_for(plan: ClusterPlan) -> Device:
    """Return the device that the workers of ``plan`` compute on.

    With ``cuda: auto``, GPUs that cannot be used are left idle with a warning: the energies are the
    same without them.

    Args:
        plan: The workers; those of another cluster look for their own GPU unless ``cuda`` is false.

    Returns:
        The device of every worker.

    Raises:
        CampaignError: ``cuda: true`` asks for a GPU, and there is none or it cannot be used.
    """
    if plan.cuda is False:
        return "cpu"
    if plan.address is not None:
        return "cuda" if plan.cuda is True else "auto"
    gpus = count_gpus()
    fault = ""
    if not gpus:
        fault = "torch finds none on this machine, or is a build without CUDA"
    elif importlib.util.find_spec("dask_cuda") is None:
        fault = "dask-cuda is not installed: pip install 'sabatier[gpu]'"
    if not fault:
        return "cuda"
    if plan.cuda is True:
        raise CampaignError(
            f"cluster.cuda: true needs a GPU, and {fault}; "
            "correct that, or leave cuda out to run without one"
        )
    if gpus:
        logger.warning(
            "GPUs left idle: %d, because %s; cuda: false in the campaign's cluster silences this",
            gpus,
            fault,
        )
    return "cpu"


def count_gpus() -> int:
    """Return how many GPUs torch may use on this machine."""
    import torch  # takes two seconds, which only a run that starts workers should wait for

    # Counted through NVML: this process gets no CUDA context, which would hold memory of a GPU.
    return torch.cuda.device_count()


def worker_variables(threads: int | None) -> dict[str, str]:
    """Return the environment that a process which computes with torch is started with.

    Args:
        threads: Of the numerical libraries in it; None leaves them to whoever starts it.
    """
    return _KEPT_MEMORY | ({} if threads is None else thread_variables(threads))


@contextmanager
def temporary_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Give processes that are started in the block these environment variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
