"""Print what a relaxation did, step by step, and what became of the adsorbate."""

from collections.abc import Sequence

from screening_db.calculations.steps import Step
from screening_db.tables.verification import CalculationRow, LabelRow


def show_steps(tried: CalculationRow, steps: Sequence[Step]) -> None:
    """Print every step of one try: total energy, largest force, time since the try began."""
    for step in steps:
        print(
            f"  step {step.step:>4}  {step.energy_ev:14.6f} eV  fmax {step.fmax:8.4f} eV/Å  "
            f"after {max(0.0, step.at - tried.started_at):.1f} s"
        )


def label_lines(label: LabelRow | None) -> list[tuple[str, str]]:
    """Return what a label says, as names and values; nothing where there is none."""
    if label is None:
        return []
    apart = label.two_start_ev
    return [
        ("label", f"{label.energy_ev:+.3f} eV, {_worth(label)}"),
        ("flags", "; ".join(_flag(label, name) for name in label.flags)),
        ("site", _site(label)),
        ("text", label.relaxed_text),
        ("two starts", "" if apart is None else f"{apart:.4f} eV apart"),
    ]


def _worth(label: LabelRow) -> str:
    if label.trainable:
        return "may be trained on"
    return "not trained on" if label.converged else "not converged, not trained on"


def _flag(label: LabelRow, name: str) -> str:
    """Return a flag with the number that was found and its limit."""
    if name not in label.flag_numbers:
        return name
    found, limit = label.flag_numbers[name]
    return f"{name} {'beyond all numbers' if found is None else f'{found:.3g}'} (limit {limit:g})"


def _site(label: LabelRow) -> str:
    if not label.site_after:
        return ""
    if not label.migrated:
        return label.site_after
    return f"{label.site_after}, begun on {label.site_before}"
