"""Works off the verification queue on Dask, on local processes or on Slurm."""
