"""Plans and summaries as data, before they are shown."""
