"""The queue on the command line: by id or by condition, and one line for what cannot be done."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from support import stored_rows as make
from support.stored_rows import new_database

from flows.cli import app as cli
from screening_db.calculations.attempts import Provenance, pack_files
from screening_db.database.engine import Database
from screening_db.queue.dependencies import Dependency, record_dependencies
from screening_db.queue.enqueue import enqueue
from screening_db.queue.queue import claim, complete, fail
from screening_db.records.screening import record_chunk

IDS = ("aa" * 32, "ab" * 32, "bb" * 32)
SURFACE = "ce" * 32
Command = Callable[..., str]


@pytest.fixture
def db(tmp_path: Path) -> Database:
    """Give a database with three adslabs in the queue; they wait for one slab and hydrogen."""
    database = new_database(tmp_path / "screening.db")
    slab = make.slab(SURFACE, miller_k=1, miller_l=1, elements=["Pt"])
    make.record(database, make.bulk(formula="Pt"), slab, make.adsorbate("OH"), make.level())
    make.record(database, make.checkpoint(), make.campaign("tiny"))
    found = [make.candidate(i, f"p{n}", SURFACE, site="atop Pt") for n, i in enumerate(IDS)]
    predictions = [make.prediction(i, -0.2 - 0.3 * n) for n, i in enumerate(IDS)]
    record_chunk(database, "tiny", "one", found, predictions, [])
    enqueue(database, [make.queue_row(i, "tiny", priority=-float(n)) for n, i in enumerate(IDS)])
    needs = [Dependency("slab", SURFACE), Dependency("gas", "H2")]
    record_dependencies(database, "emt", dict.fromkeys(IDS, needs))
    return database


@pytest.fixture
def sabatier(
    db: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Return a function that runs ``sabatier queue`` and returns what it said."""
    monkeypatch.setenv("SABATIER_DATABASE", db.address)

    def run(*arguments: str, status: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["sabatier", "queue", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert (ended.value.code, said.err if status == 0 else "") == (status, "")
        return said.out if status == 0 else said.err

    return run


def states(db: Database) -> dict[str, str]:
    assert db.path is not None
    with sqlite3.connect(db.path) as connection:
        return dict(connection.execute("select item, state from queue").fetchall())


def test_a_list_counts_states_and_shows_the_first_in_line(sabatier: Command) -> None:
    said = sabatier("list", "tiny")
    assert next(line.split() for line in said.splitlines() if "waiting" in line)[-2] == "3"
    assert "Pt(111) clean" in said
    assert "H2 gas" in said
    assert "atop Pt" in said
    assert "-0.20 ± 0.10" in said
    assert "first 2 of 5 in line" in sabatier("list", "--number", "2")


def test_a_campaign_alone_is_short_for_its_list(sabatier: Command) -> None:
    assert sabatier("tiny") == sabatier("list", "tiny")


def test_a_list_may_be_chosen_by_a_condition(sabatier: Command) -> None:
    said = sabatier("list", "--where", "energy_ev < -0.4 and bulk = 'Pt'")
    assert (IDS[0][:12] in said, IDS[1][:12] in said, IDS[2][:12] in said) == (False, True, True)


def test_orders_by_the_beginning_of_an_id(sabatier: Command, db: Database) -> None:
    assert "1 held" in sabatier("hold", "aa")
    assert states(db)[IDS[0]] == "held"
    assert "waiting" in sabatier("release", "aa")
    assert "2 cancelled" in sabatier("cancel", "aa", "bb")
    assert (states(db)[IDS[0]], states(db)[IDS[2]]) == ("cancelled", "cancelled")
    assert "1 retried" in sabatier("retry", "aa", "--level", "emt")
    assert states(db)[IDS[0]] == "queued"


def test_orders_by_condition(sabatier: Command, db: Database) -> None:
    said = sabatier("hold", "--where", "energy_ev < -0.4")
    assert "2 held" in said
    assert [states(db)[i] for i in IDS] == ["waiting", "held", "held"]


def test_a_priority_may_be_negative_and_is_the_last_word(sabatier: Command, db: Database) -> None:
    assert "1 given priority 7.5" in sabatier("priority", "ab", "7.5")
    assert "3 given priority -2" in sabatier("priority", "--where", "kind = 'adslab'", "-2")
    assert states(db)[IDS[0]] == "waiting"


def test_a_command_names_the_items_that_it_leaves_with_the_reason(sabatier: Command) -> None:
    sabatier("cancel", "aa")
    said = sabatier("hold", "aa", "ab")
    assert "1 held" in said
    assert f"unchanged: {IDS[0][:12]} at emt: it is cancelled; retry it" in said


def _one_try(db: Database) -> None:
    slab, gas = claim(db, "emt", batch=2, lease_s=60)
    provenance = Provenance(
        host="node7",
        engine="gpaw",
        level_hash="e" * 64,
        versions={"gpaw": "26.7"},
        structure_in='{"before":1}',
        structure_out='{"after":1}',
        started_at=0.0,
        ended_at=12.5,
        rungs=("as stated: scf_not_converged", "gentle mixing: scf_not_converged"),
        files=pack_files({"gpaw.txt": b"SCF did not converge"}),
    )
    fail(db, slab, "scf_not_converged", "no convergence in 333 steps", provenance)
    assert gas.item == "H2"


def test_one_item_is_shown_with_the_provenance_of_each_try(
    sabatier: Command, db: Database, tmp_path: Path
) -> None:
    _one_try(db)
    said = sabatier("show", "ce", "--out", str(tmp_path / "kept"))
    for part in (
        "Pt(111) clean",
        "attempt 1",
        "1970-01-01 00:00:00 UTC to 1970-01-01 00:00:12 UTC (12.5 s)",
        "node7",
        "gpaw 26.7",
        f"hash {'e' * 64}",
        "scf_not_converged: no convergence in 333 steps",
        "ladder     gentle mixing: scf_not_converged",
        "gpaw.txt (20 bytes)",
    ):
        assert part in said
    (folder,) = (tmp_path / "kept").iterdir()
    assert (folder / "gpaw.txt").read_bytes() == b"SCF did not converge"
    assert json.loads((folder / "structure_out.json").read_text()) == {"after": 1}
    assert "attempts   none yet" in sabatier("show", "aa")


def test_a_folder_that_cannot_be_written_is_one_line(
    sabatier: Command, db: Database, tmp_path: Path
) -> None:
    _one_try(db)
    (tmp_path / "file").write_text("")
    said = sabatier("show", "ce", "--out", str(tmp_path / "file"), status=2)
    assert "cannot be one" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "none"), "there is no campaign none"),
        (("nonesuch",), "there is no campaign nonesuch"),
        (("show", "ffff"), "none in"),
        (("show", "a"), "is the beginning of 2 items"),
        (("hold",), "by id or by --where, one of the two"),
        (("hold", "aa", "--where", "1=1"), "by id or by --where, one of the two"),
        (("cancel", "--where", "energy_ev > 5"), "holds for none"),
        (("cancel", "--where", "energy_ev > 5) or (1=1"), "one SQL expression"),
        (("cancel", "--where", "delete from queue"), "not understood"),
        (("retry", "aa"), "nothing was retried"),
        (("priority", "aa", "nan"), "a priority is a finite number"),
    ],
)
def test_a_refused_command_is_one_line(
    sabatier: Command, db: Database, arguments: tuple[str, ...], said: str
) -> None:
    before = states(db)
    line = sabatier(*arguments, status=2)
    assert line.startswith("sabatier: ")
    assert said in line
    assert states(db) == before


def test_a_label_is_shown_beside_its_prediction(sabatier: Command, db: Database) -> None:
    with sqlite3.connect(str(db.path)) as connection:
        connection.execute("update queue set state = 'queued' where state = 'waiting'")
    leases = {lease.item: lease for lease in claim(db, "emt", batch=9, lease_s=60)}
    complete(db, leases[IDS[0]], make.label(IDS[0], -0.25))
    said = sabatier("show", "aa")
    assert "-0.250 eV" in said
    assert "converged" in said
