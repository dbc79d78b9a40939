"""Which pairs are worth a calculation: scores, and a batch that mixes them.

``estimates`` holds the predictions, ``scores`` the ideas of worth, ``batch`` the choice,
``diversity`` and ``costs`` the factors that it weighs, and ``policies`` names all of them.
"""

from tasks.acquisition.batch import Policy, SelectedRow, SelectionReason, Share, select
from tasks.acquisition.costs import PRICE_TABLES, CostRule, Prices, PriceTable, price_table
from tasks.acquisition.diversity import RADIUS, element_shares, feature_matrix, one_hot
from tasks.acquisition.estimates import AcquisitionError, PairEstimates
from tasks.acquisition.policies import POLICIES, SelectionLimits, named_policy
from tasks.acquisition.scores import SCORES, ConfidenceBound, Score

__all__ = [
    "POLICIES",
    "PRICE_TABLES",
    "RADIUS",
    "SCORES",
    "AcquisitionError",
    "ConfidenceBound",
    "CostRule",
    "PairEstimates",
    "Policy",
    "PriceTable",
    "Prices",
    "Score",
    "SelectedRow",
    "SelectionLimits",
    "SelectionReason",
    "Share",
    "element_shares",
    "feature_matrix",
    "named_policy",
    "one_hot",
    "price_table",
    "select",
]
