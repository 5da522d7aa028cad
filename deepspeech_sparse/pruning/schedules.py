"""When a weight is small enough to go: the threshold schedule of gradual pruning.

A schedule maps the training step to a threshold. It knows nothing of tensors; `pruner.py` turns its answer into masks,
`callback.py` calls both at the right moment of training.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError


@dataclass(frozen=True)
class NarangThreshold:
    """Threshold that rises slowly from `start`, then faster from `ramp` to `end`.

    Narang et al. 2017, Algorithm 1 and Eq. 1 (arXiv 1704.05119). All positions are optimizer steps.

    Example:
        >>> schedule = NarangThreshold.from_quantile(q=0.1, start=2700, ramp=13750, end=27500, every=100)
        >>> round(schedule(27400), 3)       # just before the end the threshold has nearly reached q
        0.1
    """

    start: int  # first step after which masks may change
    ramp: int  # step from which the threshold rises `slope_ramp` per update
    end: int  # no update at or after this step
    slope: float  # theta: rise per update before `ramp`
    slope_ramp: float  # phi: rise per update from `ramp` on, usually 1.5 to 2 theta
    every: int = 100  # freq: steps between updates

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.ramp < self.end:
            raise InputError(
                f"pruning: need 0 <= start < ramp < end, got start {self.start}, ramp {self.ramp}, "
                f"end {self.end} (steps)"
            )
        if self.every < 1:
            raise InputError(f"pruning: every = {self.every} steps; masks can be updated at most once per step")
        if self.last_update is None:
            raise InputError(
                f"pruning: no multiple of every = {self.every} lies between start {self.start} and end {self.end}; "
                "nothing would ever be pruned. Lower `every` or train longer"
            )

    @classmethod
    def from_quantile(
        cls, q: float, start: int, ramp: int, end: int, every: int = 100, phi_ratio: float = 1.5
    ) -> NarangThreshold:
        """The paper's Eq. 1: theta such that the threshold ends near `q` when phi = 1.5 theta.

        Args:
            q: final threshold, e.g. the 90th percentile of |w| in a trained dense network
            phi_ratio: phi / theta, 1.5 to 2 in the paper; above 1.5 the threshold ends above q
        """
        if not q > 0 or not phi_ratio > 0:
            raise InputError(f"pruning: q = {q} and phi_ratio = {phi_ratio} must be positive")
        theta = 2 * q * every / (2 * (ramp - start) + 3 * (end - ramp))
        return cls(start, ramp, end, theta, phi_ratio * theta, every)

    @property
    def last_update(self) -> int | None:
        """Last step at which masks change, None when there is none."""
        step = (self.end - 1) // self.every * self.every
        return step if step > self.start else None

    def __call__(self, step: int) -> float | None:
        """Threshold due at `step`, or None when no mask changes there."""
        if not self.start < step < self.end or step % self.every:
            return None
        slow = min(step, self.ramp) - self.start + 1
        fast = step - self.ramp + 1 if step >= self.ramp else 0
        return (self.slope * slow + self.slope_ramp * fast) / self.every
