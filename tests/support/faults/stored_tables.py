"""Every table of a database as Python sees it, and how two databases differ.

Rows are compared by ids. What differs between two runs of one campaign is left out: times, lease
tokens, hosts, and how often a calculation was tried.
"""

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import select, text

from screening_db.database import open_database
from screening_db.migrations.id_views import ID_VIEWS
from screening_db.tables import Base

Tables = dict[str, pd.DataFrame]
OF_ONE_RUN = {  # of a calculation
    *("token", "started_at", "ended_at", "reported_at", "at", "content", "size_bytes")
}
OF_ONE_DATABASE = {"database_identity", "database_folder", "campaign_holder", "last_write"}
OF_ONE_TRY = {"calculation_step", "calculation_file"}  # a kill makes more tries
_LAKE = "lake"
# What tells a row from others; all else may differ.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "adsorbate": ("name",),
    "alias": ("kind", "alias"),
    "bulk": ("id",),
    "calculation": ("item", "level"),
    "campaign": ("name",),
    "campaign_item": ("campaign", "stage", "item_id"),
    "candidate": ("id",),
    "checkpoint": ("sha256",),
    "chunk": ("campaign", "chunk_id"),
    "fine_tuning": ("id",),
    "label": ("candidate_id", "level"),
    "level_of_theory": ("name",),
    "prediction": ("candidate_id", "checkpoint_sha256", "level"),
    "promotion": ("model", "number"),
    "queue": ("item", "level"),
    "queue_need": ("item", "level", "needs"),
    "rank": ("campaign", "rank"),
    "reference_energy": ("level", "kind", "item"),
    "round": ("campaign", "number"),
    "slab": ("id",),
    _LAKE: ("candidate_id", "checkpoint_sha256", "level"),
}
COMPARED = frozenset(_KEYS)
# How an end was reached, which a kill may change, and where files of this run lie.
_HOW: Mapping[str, tuple[str, ...]] = {
    "queue": ("attempts", "failures", "error_class", "error_message", "lease_until", "lease_token"),
    "calculation": ("attempt", "host", "job", "note", "refused", "rungs", "versions"),
    "fine_tuning": ("folder",),
}
_ENDED_WELL = ("converged", "anomalous")


@dataclass(frozen=True)
class Difference:
    """How many rows of a database are missing, too many, or otherwise; and the first of them."""

    lost: int = 0
    doubled: int = 0
    different: int = 0
    first: str = ""

    def __add__(self, other: "Difference") -> "Difference":
        """Return both together."""
        return Difference(
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.different + other.different,
            self.first or other.first,
        )


def stored_tables(address: Path | str) -> Tables:
    """Return every table by ids, as Python sees it, rows in order.

    Views show what is stored under keys, which count in the order that rows came.
    """
    db = open_database(address)
    stated = {name: select(table) for name, table in Base.metadata.tables.items()}
    shown = {name: text(f"select * from {name}") for name in ID_VIEWS}
    frames = {}
    with db.engine.connect() as connection:
        for name, statement in (stated | shown).items():
            if name in {"pair", "predictor", *OF_ONE_DATABASE} or name.startswith("stored_"):
                continue
            rows = connection.execute(statement).mappings()
            plain = [
                {c: int(v) if v is True or v is False else v for c, v in r.items()} for r in rows
            ]
            frames[name] = pd.DataFrame(plain, dtype=object)
    db.close()
    kept = {n: f.drop(columns=OF_ONE_RUN & set(f.columns)) for n, f in frames.items()}
    return {
        name: frame.sort_values(list(frame.columns), ignore_index=True, key=lambda c: c.astype(str))
        for name, frame in kept.items()
    }


def results(address: Path | str, lake: Path) -> Tables:
    """Return the tables that a run must leave, however often it was killed, and those of its lake.

    Of the attempts at a calculation that is the one which ended well.
    """
    tables = stored_tables(address)
    calculations = tables["calculation"]
    if len(calculations):
        tables["calculation"] = calculations[calculations.state.isin(_ENDED_WELL)]
    kept = {name: tables[name].drop(columns=list(_HOW.get(name, ()))) for name in _filled(tables)}
    files = sorted(lake.rglob("chunk-*.parquet"))
    parts = [pd.read_parquet(file, partitioning=None) for file in files]
    return kept | ({_LAKE: pd.concat(parts)} if parts else {})


def _filled(tables: Tables) -> list[str]:
    return [name for name, frame in tables.items() if len(frame) and name in _KEYS]


def compare(found: Tables, wanted: Tables) -> Difference:
    """Return how ``found`` differs from ``wanted``, table by table.

    Lost are rows of ``wanted`` whose key is not in ``found``; doubled those that ``found`` has more
    often, or that ``wanted`` has not; different those whose other columns are not equal.
    """
    whole = Difference()
    for name in sorted({*found, *wanted}):
        whole += _compare_rows(
            name, _by_key(name, found.get(name)), _by_key(name, wanted.get(name))
        )
    return whole


_Rows = dict[tuple[Hashable, ...], Counter[str]]


def _by_key(name: str, frame: pd.DataFrame | None) -> _Rows:
    rows: _Rows = {}
    for row in [] if frame is None else frame.to_dict("records"):
        key = tuple(row.pop(column) for column in _KEYS[name])
        rows.setdefault(key, Counter())[_plain(row)] += 1
    return rows


def _plain(row: Mapping[Hashable, Any]) -> str:
    return repr(sorted((str(column), repr(value)) for column, value in row.items()))


def _compare_rows(name: str, found: _Rows, wanted: _Rows) -> Difference:
    lost = doubled = different = 0
    first = ""
    for key in sorted({*found, *wanted}, key=repr):
        here, there = found.get(key, Counter()), wanted.get(key, Counter())
        more = here.total() - there.total()
        lost += max(-more, 0)
        doubled += max(more, 0)
        different += more == 0 and here != there
        if here != there:
            first = first or f"{name} {key}: {dict(here)} for {dict(there)}"
    return Difference(lost, doubled, different, first)
