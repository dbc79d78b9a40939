"""Write one training table for each set that benchmarks are run on, whatever its licence.

    python -m tasks.training_data.benchmark_tables --data DIR --out DIR [--sets NAME ...]

The tables have the form of ``assemble``; a checkpoint trained on one whose licence does not allow
it must not ship, which the report says of each. ``published.parquet`` beside them holds what others
predicted for the same rows (columns ``uid``, ``model``, ``energy_ev``).
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from tasks.errors import UserError
from tasks.training_data.assemble import set_rows
from tasks.training_data.sources import BENCHMARKS, SETS, SetSpec, read_records, sets_by_name
from tasks.training_data.table import write_rows, write_table

logger = logging.getLogger(__name__)

PUBLISHED = "published.parquet"
_PREDICTED = "pred_"
_SCHEMA = pa.schema([("uid", pa.string()), ("model", pa.string()), ("energy_ev", pa.float64())])


def benchmark_tables(data: Path, names: Sequence[str], out: Path) -> Iterator[str]:
    """Write one table for each of the named sets, whatever its licence.

    Args:
        data: The folder of the published sets.
        names: The sets to take.
        out: The folder to write.

    Yields:
        Lines that report on each set.

    Raises:
        UserError: a set is not known.
    """
    for spec in sets_by_name(names, (*SETS, *BENCHMARKS)):
        rows, report = set_rows(data, spec)
        write_rows(out / f"{spec.name}.parquet", rows)
        yield from report.lines()
        if not spec.ships:
            yield "  no licence: weights trained on it must not ship"
        if spec.form == "text":
            published = _published(data, spec)
            write_table(out / PUBLISHED, pa.Table.from_pylist(published, schema=_SCHEMA))
            yield f"  {len(published)} published predictions"


def _published(data: Path, spec: SetSpec) -> list[dict[str, object]]:
    return [
        {"uid": f"{record['uid']}#text", "model": name.removeprefix(_PREDICTED), "energy_ev": value}
        for record in read_records(data, spec)
        for name, value in record.items()
        if name.startswith(_PREDICTED) and value is not None and value == value
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the tables and log how each set went."""
    names = [spec.name for spec in BENCHMARKS]
    parser = argparse.ArgumentParser(description="Write one table for each benchmark set.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the published sets")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--sets", nargs="+", default=names, help="which sets")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    try:
        for line in benchmark_tables(options.data, options.sets, options.out):
            logger.info(line)
    except UserError as error:
        parser.exit(2, f"sabatier: {error}\n")


if __name__ == "__main__":
    main()
