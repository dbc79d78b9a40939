"""Which pairs are worth a calculation: scores, and a batch that mixes them.

A module a subject: ``beliefs`` what is known, ``scores`` ideas of worth, ``batch`` the choice,
``diversity``, ``costs`` and ``prices`` what it weighs, ``policies`` all of it by name.
"""

from tasks.acquire.batch import Policy, Selected, Share, Why, select
from tasks.acquire.beliefs import AcquisitionError, Beliefs
from tasks.acquire.costs import CostRule
from tasks.acquire.features import features, fractions, one_hot
from tasks.acquire.policies import POLICIES, Limits, named_policy
from tasks.acquire.prices import PRICE_TABLES, Prices, PriceTable, price_table
from tasks.acquire.scores import SCORES, ConfidenceBound, Score

__all__ = [
    "POLICIES",
    "PRICE_TABLES",
    "SCORES",
    "AcquisitionError",
    "Beliefs",
    "ConfidenceBound",
    "CostRule",
    "Limits",
    "Policy",
    "PriceTable",
    "Prices",
    "Score",
    "Selected",
    "Share",
    "Why",
    "features",
    "fractions",
    "named_policy",
    "one_hot",
    "price_table",
    "select",
]
