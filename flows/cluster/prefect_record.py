"""Show a run to Prefect while its server answers; the work itself does not depend on it.

Prefect's engine asks its server before and after each flow, and raises where none answers. So each
piece of work is handed to it as a call that remembers how it went: whatever Prefect makes of it,
the work is done once, its result and its faults are its own, and once the server is lost the rest
is called without Prefect.
"""

import functools
import logging
import signal
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import TerminationSignal

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)


class PrefectRecord:
    """The record that Prefect keeps of one run, for as long as its server answers.

    Args:
        where: The server, for the message that it is lost.
        is_gone: Says at once, without asking the server, where it is known to have ended.
    """

    def __init__(self, where: str, is_gone: Callable[[], bool] = lambda: False) -> None:
        self._where = where
        self._is_gone = is_gone
        self.is_lost = False

    def lose(self, why: str) -> None:
        """Go on without Prefect from now on."""
        if not self.is_lost:
            self.is_lost = True
            logger.warning(
                "%s is lost (%s); the run goes on without it, and loses nothing by that",
                self._where,
                why,
            )

    def flow(self, function: Callable[P, R], *, name: str, run_name: str) -> Callable[P, R]:
        """Return a function as a flow of Prefect's."""
        # Not read from a result of Prefect's either: the call remembers it.
        return self._recorded(
            function, flow(name=name, flow_run_name=run_name, persist_result=False)
        )

    def task(
        self, function: Callable[P, R], *, name: str, run_name: str | None = None
    ) -> Callable[P, R]:
        """Return a function as a task of Prefect's, of which nothing is cached."""
        decorate = task(
            name=name, task_run_name=run_name, cache_policy=NO_CACHE, persist_result=False
        )
        return self._recorded(function, decorate)

    def _recorded(self, function: Callable[P, R], decorate: Any) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*arguments: P.args, **named: P.kwargs) -> R:
            if not self.is_lost and self._is_gone():
                self.lose("it has ended")
            if self.is_lost:
                return function(*arguments, **named)
            once = _Once(function)
            shown = functools.wraps(function)(lambda *a, **k: once(*a, **k))
            try:
                decorate(shown)(*arguments, **named)
            except Exception as fault:
                if once.fault is None:  # Prefect's own
                    _raise_stop(fault)
                    self.lose(f"{type(fault).__name__}: {fault}".splitlines()[0])
            if once.fault is not None:
                if isinstance(once.fault, TerminationSignal):
                    _raise_stop(once.fault)
                raise once.fault
            return once(*arguments, **named)

        return call


def _raise_stop(fault: BaseException) -> None:
    """Raise KeyboardInterrupt where a fault came while Ctrl-C or SIGTERM was being handled.

    Prefect tells its server that a run was stopped, which fails where the server is gone. It
    handles SIGTERM itself: the signal is sent on to whom it belonged before.
    """
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, TerminationSignal):
            signal.raise_signal(cause.signal)
        if isinstance(cause, KeyboardInterrupt | TerminationSignal):
            raise KeyboardInterrupt from fault
        cause = cause.__cause__ or cause.__context__


class _Once(Generic[P, R]):
    """A function that is called once at most, and then answers as it did."""

    def __init__(self, function: Callable[P, R]) -> None:
        self._function = function
        self._results: list[R] = []
        self.fault: BaseException | None = None

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        """Return the result of the first call, which is this one where there was none."""
        if self.fault is not None:
            raise self.fault
        if not self._results:
            try:
                self._results.append(self._function(*arguments, **named))
            except BaseException as fault:
                self.fault = fault
                raise
        return self._results[0]
