"""Which workers a run wants, and what they compute on. Starts nothing and imports no Dask."""

import ctypes
import importlib.util
import os
import sys
from dataclasses import dataclass
from typing import Literal

from flows.errors import CampaignError

Cuda = bool | Literal["auto"]
# "auto" is for the workers of a cluster that is there already: each one looks for its own GPU.
Device = Literal["cpu", "cuda", "auto"]
_NVML = "libnvidia-ml.so.1"
_NO_DASK_CUDA = "dask-cuda is not installed: pip install 'sabatier[gpu]'"


@dataclass(frozen=True)
class ClusterPlan:
    """Which workers a run wants; ``address`` goes before starting any.

    ``workers`` counts processes on CPU cores; with GPUs there is one for each GPU.
    """

    workers: int
    address: str | None = None
    cuda: Cuda = "auto"


def default_workers() -> int:
    """Return how many processes this machine has cores for."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_for(plan: ClusterPlan) -> Device:
    """Return what the workers of ``plan`` compute on.

    A GPU that is found but cannot be used is said in one line, and the run goes on without it,
    because the energies are the same.

    Raises:
        CampaignError: ``cuda: true`` asks for a GPU, and there is none or it cannot be used.
    """
    if plan.cuda is False:
        return "cpu"
    if plan.address is not None:
        return "cuda" if plan.cuda is True else "auto"
    gpus = count_gpus()
    missing = _missing(gpus)
    if not missing:
        return "cuda"
    if plan.cuda is True:
        raise CampaignError(
            f"cluster.cuda: true needs a GPU, and {missing}; "
            "mend that, or leave cuda out to run without one"
        )
    if gpus:
        print(
            f"sabatier: GPUs left idle: {gpus}, because {missing}; "
            "cuda: false in the campaign's cluster silences this",
            file=sys.stderr,
        )
    return "cpu"


def _missing(gpus: int) -> str:
    """Return why no worker can run on a GPU here; empty where one can."""
    if gpus == 0:
        return "NVML finds none on this machine"
    if importlib.util.find_spec("dask_cuda") is None:
        return _NO_DASK_CUDA
    if not _torch_is_for_cuda():
        return "torch is a build without CUDA: install one with it"
    return ""


def _torch_is_for_cuda() -> bool:
    import torch  # takes seconds, and matters only where there is a GPU

    return torch.version.cuda is not None


def count_gpus() -> int:
    """Return how many GPUs the driver has, without making a CUDA context in this process."""
    try:
        nvml = ctypes.CDLL(_NVML)
    except OSError:  # no NVIDIA driver
        return 0
    count = ctypes.c_uint(0)
    if nvml.nvmlInit_v2() != 0:
        return 0
    try:
        found = nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0
    finally:
        nvml.nvmlShutdown()
    return count.value if found else 0
