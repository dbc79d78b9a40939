"""Commands for the database itself: where its parts lie, moving them, backups, a new schema."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import DatabaseOption, database_to_read, opened_database

if TYPE_CHECKING:
    from screening_db.database import Database
    from screening_db.tables import FolderKind

db_app = typer.Typer(help="Look after the database: where its parts lie, backups, its schema.")


@db_app.command()
def where(database: DatabaseOption = None) -> None:
    """Print where the database and the folders that belong to it lie."""
    from screening_db.records.folders import database_id

    with database_to_read(database) as db:
        print(f"database  {db.where}")
        print(f"id        {database_id(db)}")
        print(f"schema    {db.revision}")
        _print_folders(db)


def _print_folders(db: "Database") -> None:
    from flows.records.folders import FOLDER_KINDS, described_folder

    for kind in FOLDER_KINDS:
        print(f"{kind:<8}  {described_folder(db, kind)}")


@db_app.command()
def move(
    lake: Annotated[Path | None, typer.Option(help="Where the predictions lie now.")] = None,
    work: Annotated[Path | None, typer.Option(help="Where steps of calculations lie now.")] = None,
    models: Annotated[Path | None, typer.Option(help="Where checkpoints lie now.")] = None,
    *,
    unmarked: Annotated[
        bool, typer.Option("--unmarked", help="Take folders of a former release, without marks.")
    ] = False,
    database: DatabaseOption = None,
) -> None:
    """State where folders lie that were moved; an empty folder begins anew."""
    from flows.errors import CampaignError
    from flows.records.folders import move_folders

    options: dict[FolderKind, Path | None] = {"lake": lake, "work": work, "models": models}
    stated = {kind: folder for kind, folder in options.items() if folder is not None}
    if not stated:
        raise CampaignError("name the folder that was moved, with --lake, --work or --models")
    with opened_database(database) as db:
        for kind, path in move_folders(db, stated, unmarked=unmarked).items():
            print(f"{kind:<8}  {path}")


@db_app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; one that is there is replaced.")],
    database: DatabaseOption = None,
) -> None:
    """Copy an SQLite database as of now, while others may go on with it."""
    from flows.errors import CampaignError
    from screening_db.database import back_up, newest_revision

    with database_to_read(database, former=True) as db:
        if db.path is None:
            raise CampaignError(
                f"a server is backed up by its own program: pg_dump --format=custom --file={file} "
                f"{db.where}"
            )
        kept = back_up(db.path, file.absolute())
        if db.revision == newest_revision():
            print(f"{kept} holds the database; copy its folders too:")
            _print_folders(db)
        else:
            print(
                f"{kept} holds the database, of schema {db.revision}; copy its folders too, which "
                "the release of that schema names with: sabatier db where"
            )


@db_app.command()
def upgrade(
    database: DatabaseOption = None,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="There is a backup: do not ask for it.")
    ] = False,
) -> None:
    """Bring a database of a former release to the schema of this one; nobody may work with it."""
    from contextlib import closing

    from flows.config.settings import read_settings
    from flows.records.locations import chosen_database
    from screening_db.database import newest_revision

    with database_to_read(database, former=True) as db:  # an SQLite file is backed up by itself
        asks = not yes and not db.is_sqlite and db.revision != newest_revision()
    if asks:
        typer.confirm("Is there a backup, and was restoring it tried?", abort=True)
    with closing(chosen_database(read_settings(), database, upgrade=True)) as db:
        print(f"{db.where} has schema {db.revision}")


@db_app.command()
def roles(database: DatabaseOption = None) -> None:
    """Make a reader, a worker and an owner of a PostgreSQL database, or renew their rights."""
    from screening_db.database.roles import make_roles, session_bounds

    with opened_database(database) as db:
        names, done = make_roles(db)
        print(*done, sep="\n")
        print(
            f"they have no login and no password: make a user a member of one, in psql {db.where}",
            f'  CREATE USER anna; GRANT "{names.reader}" TO anna;',
            "  \\password anna",
            "what her sessions begin with is set for her, and she may change it:",
            *(f"  {statement};" for statement in session_bounds(db, "anna")),
            f"who screens or verifies needs {names.worker}, who upgrades {names.owner}; sabatier "
            f"sql acts as {names.reader} for all of them",
            "users give their password in PGPASSWORD or ~/.pgpass, not in the address",
            sep="\n",
        )
