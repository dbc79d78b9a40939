"""QE-Catalytic and its companions: torch and transformers, no database, no Prefect, no Dask."""
