"""Where campaigns run: schedules, work pools, containers and cluster profiles."""
