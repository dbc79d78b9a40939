"""Reading: rankings, labels, enumeration, the funnel."""
