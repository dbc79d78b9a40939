"""What each reading of the gated loss asks of the two heads."""

import pytest
import torch

from model.training.loss import COMBINATIONS, combine_losses


def gradients(reading: str, regression: float, tokens: float) -> tuple[float, float]:
    losses = [torch.tensor(value, requires_grad=True) for value in (regression, tokens)]
    combine_losses(reading, *losses, 0.5).backward()
    return tuple(float(loss.grad) if loss.grad is not None else 0.0 for loss in losses)  # type: ignore[return-value]


def test_read_literally_the_easier_task_is_rewarded_for_getting_worse() -> None:
    hard, easy = gradients("literal", 1.0, 0.2)
    assert hard > 0
    assert easy < 0


def test_with_the_gate_detached_the_easier_task_idles() -> None:
    assert gradients("detached", 1.0, 0.2)[1] == 0.0


@pytest.mark.parametrize(("regression", "tokens"), [(1.0, 0.2), (0.2, 1.0), (2.0, 1.9)])
def test_gated_keeps_both_falling_and_the_harder_one_leading(
    regression: float, tokens: float
) -> None:
    of_regression, of_tokens = gradients("gated", regression, tokens)
    assert min(of_regression, of_tokens) > 0
    assert (of_regression > of_tokens) == (regression > tokens)


def test_the_easier_task_is_damped_the_more_the_larger_it_still_is() -> None:
    assert gradients("gated", 3.0, 0.1)[1] > gradients("gated", 3.0, 1.0)[1] > 0.5


def test_the_sum_weighs_both_alike_and_one_head_ignores_the_other() -> None:
    assert gradients("sum", 1.0, 0.2) == (1.0, 1.0)
    assert gradients("regression", 1.0, 0.2) == (1.0, 0.0)
    assert gradients("tokens", 1.0, 0.2) == (0.0, 1.0)


def test_readings_differ() -> None:
    values = {
        name: float(combine_losses(name, *torch.tensor([1.0, 0.4]), 0.5)) for name in COMBINATIONS
    }
    assert values["gated"] == pytest.approx(1.0 + (1 - 0.5 * 0.379949) * 0.4, abs=1e-4)
    assert values["literal"] == values["detached"] == pytest.approx(1 - 0.5 * 0.379949, abs=1e-4)
