"""The gated sum: both tasks keep learning."""

import pytest
import torch

from model.loss import gated_sum


@pytest.mark.parametrize(("regression", "tokens"), [(0.2, 3.0), (3.0, 0.2), (1.0, 1.0)])
def test_neither_task_is_rewarded_for_getting_worse(regression: float, tokens: float) -> None:
    losses = [torch.tensor(value, requires_grad=True) for value in (regression, tokens)]
    gated_sum(*losses).backward()
    for loss in losses:
        assert loss.grad is not None
        assert loss.grad > 0


def test_the_harder_task_has_full_weight_and_the_easier_less() -> None:
    easy, hard = (torch.tensor(value, requires_grad=True) for value in (1.0, 2.0))
    gated_sum(easy, hard, damping=0.5).backward()
    assert hard.grad == pytest.approx(1.0)
    assert easy.grad == pytest.approx(1 - 0.5 * float(torch.tanh(torch.tensor(1.0))))
