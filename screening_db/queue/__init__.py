"""The verification queue: leases, dependencies, commands and its view."""
