"""Connections, schema, bulk loading, locks and error messages."""
