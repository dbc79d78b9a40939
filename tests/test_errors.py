"""All exceptions that Sabatier raises for a user have one root."""

import pytest

from flows.errors import CampaignError
from model.errors import ModelError, SabatierError
from screening_db.errors import DatabaseError, NoDatabaseError
from tasks.errors import UserError
from tasks.verification.engines import EngineError


@pytest.mark.parametrize(
    "kind", [CampaignError, DatabaseError, EngineError, ModelError, NoDatabaseError, UserError]
)
def test_an_exception_has_the_common_root(kind: type[Exception]) -> None:
    assert issubclass(kind, SabatierError)
