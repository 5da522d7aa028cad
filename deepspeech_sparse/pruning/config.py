"""What a user says about pruning in YAML, and the schedules that follow from it."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .schedules import NarangThreshold


@dataclass(frozen=True)
class ThresholdConfig:
    """Where the threshold of one layer type ends. Give exactly one of q, dense and sparsity.

    Args:
        q: final threshold itself
        dense: trained dense run folder, checkpoint or model file; q is the `percentile` of its |w| (the paper's way)
        percentile: share of the dense weights below q
        sparsity: share of weights that is zero once pruning ends. At every update q is measured anew, as this
            quantile of the current |w|, so the last update meets the target whatever the weights did meanwhile
    """

    q: float | None = None
    dense: Path | None = None
    percentile: float = 0.9
    sparsity: float | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("q", "dense", "sparsity") if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError(
                f"pruning: give exactly one of q, dense and sparsity per layer type, got {given or 'none'}"
            )
        if self.q is not None and not self.q > 0:
            raise InputError(f"pruning: q = {self.q} must be positive")
        if not 0 < self.percentile < 1:
            raise InputError(f"pruning: percentile = {self.percentile} must lie between 0 and 1")
        if self.sparsity is not None and not 0 < self.sparsity < 1:
            raise InputError(
                f"pruning: sparsity = {self.sparsity} must lie between 0 and 1; at 1 no weight would be left"
            )


@dataclass(frozen=True)
class PruningConfig:
    """Gradual pruning after Narang et al. 2017; positions follow the heuristics of their Table 1.

    Args:
        start_epoch: epochs trained dense before pruning starts
        ramp: share of all steps after which the threshold rises faster
        end: share of all steps after which masks are frozen
        every: optimizer steps between two mask updates (freq)
        phi_ratio: phi / theta, 1.5 to 2; above 1.5 the threshold ends above q
        recurrent: threshold for input and recurrent matrices of all recurrent layers
        linear: threshold for fully connected layers; none leaves them dense. The CTC head is never pruned
    """

    recurrent: ThresholdConfig | None = None
    linear: ThresholdConfig | None = None
    start_epoch: float = 1.0
    ramp: float = 0.25
    end: float = 0.5
    every: int = 100
    phi_ratio: float = 1.5

    def __post_init__(self) -> None:
        if self.recurrent is None and self.linear is None:
            raise InputError("pruning: give a threshold for recurrent or linear layers, or leave `pruning` out")
        if not 0 < self.ramp < self.end <= 1:
            raise InputError(
                f"pruning: need 0 < ramp < end <= 1, got ramp {self.ramp}, end {self.end} (shares of all steps)"
            )
        if self.phi_ratio <= 0:
            raise InputError(f"pruning: phi_ratio = {self.phi_ratio} must be positive")

    def schedule(self, q: float, *, steps_per_epoch: float, total_steps: int) -> NarangThreshold:
        """The threshold schedule for final threshold `q` in a run of `total_steps`."""
        return NarangThreshold.from_quantile(
            q,
            start=round(self.start_epoch * steps_per_epoch),
            ramp=round(self.ramp * total_steps),
            end=round(self.end * total_steps),
            every=self.every,
            phi_ratio=self.phi_ratio,
        )
