"""Chunks are cut the same in every run, and results come back in the order of their groups."""

import threading
from collections.abc import Iterator

import pytest
from dask.distributed import Client, LocalCluster

from flows.screening.scoring import fill_groups, run_on_workers


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ((3, 3, 3), [(3, 3), (3,)]),
        ((5, 1, 4), [(5,), (1, 4)]),
        ((9,), [(9,)]),
        ((), []),
    ],
)
def test_a_group_ends_where_it_reaches_its_size(
    sizes: tuple[int, ...], groups: list[tuple[int, ...]]
) -> None:
    assert list(fill_groups(sizes, 5, lambda size: size)) == groups


@pytest.fixture
def client() -> Iterator[Client]:
    cluster = LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"
    )
    with cluster, Client(cluster, set_as_default=False) as found:
        yield found


last_is_done = threading.Event()


def first_ends_last(number: int) -> int:
    """Return a number: 0 once 2 is done, on another thread."""
    if number == 0:
        assert last_is_done.wait(120.0)
    if number == 2:
        last_is_done.set()
    return number


def test_results_are_in_the_order_of_their_calls(client: Client) -> None:
    advanced: list[int] = []
    calls = [(0,), (1,), (2,)]
    found = run_on_workers(
        client, first_ends_last, calls, lambda result: result + 1, advanced.append
    )
    assert found == [0, 1, 2]
    assert sum(advanced) == 6
