"""From a campaign file to a ranked list and a filled verification queue."""
