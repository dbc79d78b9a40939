"""The screening database: tables, migrations, queue, queries and the Parquet lake; no torch."""
