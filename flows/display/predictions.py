"""Print predictions of one adslab, a line for each level of theory."""

from collections.abc import Sequence

from model.contract import Prediction

_Z90 = 1.645  # 90 % of a normal distribution lie within so many standard deviations


def show_predictions(predictions: Sequence[Prediction]) -> None:
    """Print one line for each level, and name anything outside its training set."""
    width = max(len(p.level) for p in predictions)
    print(f"{'level of theory':<{max(width, 15)}}  energy eV  sigma   90 % interval    heads")
    for p in predictions:
        reach = _Z90 * p.sigma_ev
        print(
            f"{p.level:<{max(width, 15)}}  {p.energy_ev:>+9.2f}  {p.sigma_ev:>5.2f}  "
            f"{p.energy_ev - reach:>+6.2f} .. {p.energy_ev + reach:>+5.2f}  "
            f"{p.regression_ev:+.2f} {p.token_ev:+.2f}"
            + ("" if p.in_domain else f"  outside: {p.reason}")
        )
