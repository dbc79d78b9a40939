"""Files that users write: campaigns, recipes, profiles, deployments; checked before a run."""
