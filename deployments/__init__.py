"""Where campaigns run: what ``sabatier deploy`` reads, and profiles of clusters. No code.

``local.yaml``       a laptop: a process pool, the laptop example every night, a label trigger
``login-node.yaml``  Slurm: a process pool on a login node, whose verifications submit jobs
``docker.yaml``      runs in containers
``kubernetes.yaml``  runs as jobs of a cluster
``prefect.yaml``     ``local.yaml`` for Prefect's own command
``slurm.yaml``       how jobs are submitted (``sabatier verify --on slurm --profile``)

The flows that are deployed are in ``flows.deployment.flows``; ``flows.config.deployments`` says
what a file may state.
"""
