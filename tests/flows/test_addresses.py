"""Addresses in messages show where a server is, and nothing secret."""

import pytest

from flows.addresses import shown_address


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://127.0.0.1:4200/api", "http://127.0.0.1:4200/api"),
        ("http://user:p/ss@host:4200/api", "http://host:4200/api"),
        ("https://user:p@ss@host/api", "https://host/api"),
        ("https://host/api?token=hunter2", "https://host/api"),
        ("https://host/api#hunter2", "https://host/api"),
        ("tls://me:hunter2@host:8786", "tls://host:8786"),
        ("me:hunter2@host:8786", "host:8786"),
        ("", ""),
    ],
)
def test_no_part_that_may_be_secret_is_shown(address: str, shown: str) -> None:
    assert shown_address(address) == shown
