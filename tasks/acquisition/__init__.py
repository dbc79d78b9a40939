"""Which pairs are worth a calculation: scores, and a batch that mixes them.

A module a subject: ``beliefs`` what is known, ``scores`` ideas of worth, ``batch`` the choice,
``diversity``, ``costs`` and ``prices`` what it weighs, ``policies`` all of it by name.
"""

from tasks.acquisition.batch import Policy, SelectedRow, Share, Why, select
from tasks.acquisition.beliefs import AcquisitionError, Beliefs
from tasks.acquisition.costs import CostRule
from tasks.acquisition.features import features, fractions, one_hot
from tasks.acquisition.policies import POLICIES, SelectionLimits, named_policy
from tasks.acquisition.prices import PRICE_TABLES, Prices, PriceTable, price_table
from tasks.acquisition.scores import SCORES, ConfidenceBound, Score

__all__ = [
    "POLICIES",
    "PRICE_TABLES",
    "SCORES",
    "AcquisitionError",
    "Beliefs",
    "ConfidenceBound",
    "CostRule",
    "Policy",
    "PriceTable",
    "Prices",
    "Score",
    "SelectedRow",
    "SelectionLimits",
    "Share",
    "Why",
    "features",
    "fractions",
    "named_policy",
    "one_hot",
    "price_table",
    "select",
]
