"""Whether and how a calculation that failed is repeated: one rule for each class of failure.

A class counts by itself: an item that failed twice in its electrons and was stopped once at the
wall limit has two attempts counted for the one and one for the other. A person who retries an
item sets all its counts back. ``not_installed`` has no rule: it is a fault of the host, not an
attempt at the item, and the driver gives the item back. Five killed workers, then no more, is the
rule of GASpy (Tran & Ulissi 2018); a run that was stopped may be started again a hundred times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

KILLED = "killed"  # a worker ended without a report to its run
RUN_STOPPED = "run_stopped"  # a lease ran out: the run that held it was killed
IONS_NOT_CONVERGED = "ions_not_converged"  # a step limit
# not computed: the clean slab or the gas molecule that it needs has failed
DEPENDENCY_FAILED = "need_failed"


@dataclass(frozen=True)
class RetryRule:
    """How often a failure of one class may happen, and the changes for the next attempt.

    ``attempts`` counts the first one: with 1 there is no second. ``resumes`` lets the next one
    start from the last geometry, ``larger_memory`` gives it to the next larger memory class.
    """

    attempts: int
    larger_memory: bool = False
    resumes: bool = False


POLICY: Mapping[str, RetryRule] = MappingProxyType(
    {
        "bad_input": RetryRule(attempts=1),
        "missing_potential": RetryRule(attempts=1),
        "scf_not_converged": RetryRule(attempts=3),  # the engine takes the next rung of its ladder
        IONS_NOT_CONVERGED: RetryRule(attempts=2, resumes=True),
        "out_of_memory": RetryRule(attempts=3, larger_memory=True),
        "wall_limit": RetryRule(attempts=20, resumes=True),  # progress, so it may happen often
        "numerical": RetryRule(attempts=2),
        KILLED: RetryRule(attempts=5, resumes=True),
        # No fault of the item. It ends all the same: an item may take its whole machine down.
        RUN_STOPPED: RetryRule(attempts=100, resumes=True),
        "engine": RetryRule(attempts=3),
    }
)
_UNKNOWN = RetryRule(attempts=1)  # fail closed: what nobody has thought about is not repeated


@dataclass(frozen=True)
class AfterFailure:
    """An item after a failure: its state, its failures by class, its memory class."""

    state: Literal["queued", "failed"]
    failures: dict[str, int]
    memory_class: int


def retry_rule(failure: str) -> RetryRule:
    """Return the rule of a class; an unknown class is never repeated."""
    return POLICY.get(failure, _UNKNOWN)


def after_failure(
    failure: str, failures: Mapping[str, int], memory_class: int, times: int = 1
) -> AfterFailure:
    """Return the state of an item after a failure, given its earlier ``failures`` by class.

    ``times`` is how often it happened before it was reported: an engine may climb its ladder
    against electrons that do not converge by itself.
    """
    counted = dict(failures) | {failure: failures.get(failure, 0) + max(1, times)}
    found = retry_rule(failure)
    again = counted[failure] < found.attempts
    larger = memory_class + 1 if again and found.larger_memory else memory_class
    return AfterFailure("queued" if again else "failed", counted, larger)
