"""Settings of Prefect's client that cannot be used are refused by name."""

from typing import Any

import pytest
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_KEY,
    PREFECT_API_SSL_CERT_FILE,
    temporary_settings,
)

from flows.cluster.server_answer import require_answer
from flows.errors import CampaignError


@pytest.mark.parametrize("host", ["x..y", "a" * 300])
def test_a_host_that_no_name_can_have_is_refused(host: str) -> None:
    with pytest.raises(CampaignError, match=r"^no Prefect server answers at .*; start it$"):
        require_answer(f"http://{host}/api", "start it")


@pytest.mark.parametrize(
    ("setting", "value", "rule"),
    [
        (PREFECT_API_SSL_CERT_FILE, "/none.pem", r"CERT_FILE is a PEM file .* /none\.pem cannot"),
        (PREFECT_API_AUTH_STRING, "me:\udcff", "AUTH_STRING is text in UTF-8"),
        (PREFECT_API_KEY, "pn\u00fc", "API_KEY is text in ASCII"),
    ],
)
def test_a_setting_of_prefect_that_cannot_be_used_is_refused_by_its_name(
    setting: Any, value: str, rule: str
) -> None:
    none = {PREFECT_API_AUTH_STRING: None, PREFECT_API_KEY: None}
    with (
        temporary_settings({**none, setting: value}),
        pytest.raises(CampaignError, match=rule) as fault,
    ):
        require_answer("http://127.0.0.1:1/api", "start it")
    assert value == "/none.pem" or value not in str(fault.value)
