"""The Parquet lake: a chunk is there in full or not at all."""

import errno

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.campaigns import read_predictions

from screening_db.errors import DatabaseError
from screening_db.records.lake import (
    SCHEMA,
    delete_lake,
    write_predictions,
)


def predictions(ids, **changed):
    n = len(ids)
    columns = {
        "candidate_id": ids,
        "pair_id": ["pair"] * n,
        "slab_id": ["slab"] * n,
        "adsorbate": ["OH"] * n,
        "level": ["emt"] * n,
        "checkpoint_sha256": ["c"] * n,
        "energy_ev": [-0.5] * n,
        "sigma_ev": [0.1] * n,
        "regression_ev": [-0.5] * n,
        "token_ev": [None] * n,
        "in_domain": [True] * n,
        "reason": [""] * n,
        "basis": [""] * n,
        "text": ["OH</s>Cu (1 1 1)</s>[]"] * n,
    }
    return pa.table(columns | changed)


def test_what_was_written_is_read_in_order(tmp_path):
    write_predictions(tmp_path, "first", "two", predictions(["c", "a"]))
    write_predictions(tmp_path, "first", "one", predictions(["b"]))
    write_predictions(tmp_path, "second", "one", predictions(["z"]))
    frame = read_predictions(tmp_path, campaign="first")
    assert list(frame["candidate_id"]) == ["a", "b", "c"]
    assert list(frame.columns) == SCHEMA.names
    assert frame["token_ev"].isna().all()


def test_a_chunk_written_again_replaces_itself(tmp_path):
    write_predictions(tmp_path, "first", "one", predictions(["a", "b"]))
    write_predictions(tmp_path, "first", "one", predictions(["a"]))
    assert list(read_predictions(tmp_path, "first")["candidate_id"]) == ["a"]


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    write_predictions(tmp_path, "first", "one", predictions(["a"]))

    def full(table, file, **options):
        file.write(b"PAR1 half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(DatabaseError, match=r"No space left on device.*free some space"):
        write_predictions(tmp_path, "first", "one", predictions(["b"]))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["chunk-one.parquet"]
    assert list(read_predictions(tmp_path, "first")["candidate_id"]) == ["a"]


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(DatabaseError, match="sigma_ev are missing"):
        write_predictions(tmp_path, "first", "one", predictions(["a"]).drop_columns("sigma_ev"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changed", [{"energy_ev": ["low"]}, {"energy_ev": [None]}, {"text": [None]}]
)
def test_a_column_of_another_type_is_refused(tmp_path, changed):
    with pytest.raises(DatabaseError, match="fixed types"):
        write_predictions(tmp_path, "first", "one", predictions(["a"], **changed))


def test_a_campaign_is_forgotten_alone(tmp_path):
    write_predictions(tmp_path, "first", "one", predictions(["a"]))
    write_predictions(tmp_path, "second", "one", predictions(["b"]))
    delete_lake(tmp_path, "first")
    assert [path.name for path in tmp_path.glob("predictions/*")] == ["campaign=second"]
    assert len(read_predictions(tmp_path, "second")) == 1


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(campaign=st.text(min_size=1, max_size=20), chunk=st.text(min_size=1, max_size=20))
def test_no_name_leads_out_of_the_lake(tmp_path, campaign, chunk):
    path = write_predictions(tmp_path, campaign, chunk, predictions(["a"]))
    assert path.resolve().parent.parent == (tmp_path / "predictions").resolve()
    delete_lake(tmp_path, campaign)
    assert not path.exists()
