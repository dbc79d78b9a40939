"""Which pairs are worth a calculation: scores, and a batch that mixes them."""

from tasks.acquire.batch import Policy, Selected, Share, select
from tasks.acquire.beliefs import AcquisitionError, Beliefs
from tasks.acquire.scores import SCORES, ConfidenceBound, Score

__all__ = [
    "SCORES",
    "AcquisitionError",
    "Beliefs",
    "ConfidenceBound",
    "Policy",
    "Score",
    "Selected",
    "Share",
    "select",
]
