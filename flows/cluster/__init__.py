"""Processes that a run starts: Dask workers and the Prefect server."""
