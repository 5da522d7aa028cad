"""When weights go, and how many: the schedules of the literature as functions of the training step.

A schedule maps the step to a threshold or to a target sparsity. It knows nothing of tensors: `rules.py` turns its
answer into a threshold for weights, `pruner.py` that into masks, `callback.py` calls them at the right moment.
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
        refuse_disorder(self.start, self.ramp, self.end)
        if self.every < 1:
            raise InputError(f"pruning: every = {self.every} steps; masks can be updated at most once per step")
        if self.last_update <= self.start:
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
        refuse_disorder(start, ramp, end)  # or the next line might divide by zero
        theta = 2 * q * every / (2 * (ramp - start) + 3 * (end - ramp))
        return cls(start, ramp, end, theta, phi_ratio * theta, every)

    @property
    def last_update(self) -> int:
        """Last step at which masks change."""
        return (self.end - 1) // self.every * self.every

    def __call__(self, step: int) -> float | None:
        """Threshold due at `step`, or None when no mask changes there."""
        if not self.start < step < self.end or step % self.every:
            return None
        slow = min(step, self.ramp) - self.start + 1
        fast = step - self.ramp + 1 if step >= self.ramp else 0
        return (self.slope * slow + self.slope_ramp * fast) / self.every


def refuse_disorder(start: int, ramp: int, end: int) -> None:
    """InputError unless steps follow each other as in the paper's Table 1."""
    if not 0 <= start < ramp < end:
        raise InputError(
            f"pruning: need 0 <= start < ramp < end, got start {start}, ramp {ramp}, end {end} (steps). "
            "Lower start_epoch, raise ramp or end, or train longer"
        )


@dataclass(frozen=True)
class SparsityRamp:
    """Sparsity that rises quickly while many weights are redundant, then ever more slowly.

    Zhu and Gupta 2017, Eq. 1 (arXiv 1710.01878), for t in {start, start + every, ..., start + updates * every}:

        s_t = final + (initial - final) * (1 - (t - start) / (updates * every)) ** exponent

    exponent 3 is theirs, 1 a linear ramp.

    Example:
        >>> ramp = SparsityRamp(final=0.8, start=100, updates=4, every=100)
        >>> [round(ramp(step), 4) for step in (100, 200, 300, 400, 500)]
        [0.0, 0.4625, 0.7, 0.7875, 0.8]
    """

    final: float  # s_f: share of zeros at the end
    start: int  # t_0: step of the first update
    updates: int  # n: updates after the first
    every: int = 100  # delta t: steps between updates
    initial: float = 0.0  # s_i
    exponent: float = 3.0

    def __post_init__(self) -> None:
        if not 0 <= self.initial < self.final < 1:
            raise InputError(
                f"pruning: need 0 <= initial < sparsity < 1, got initial {self.initial}, sparsity {self.final}"
            )
        if self.start < 0 or self.every < 1 or not self.exponent > 0:
            raise InputError(
                f"pruning: start {self.start} (steps) must be at least 0, every {self.every} at least 1, "
                f"exponent {self.exponent} positive"
            )
        if self.updates < 1:
            raise InputError(
                f"pruning: not one update of every {self.every} steps lies between start {self.start} and end; "
                "nothing would ever be pruned. Lower `every`, start earlier, end later or train longer"
            )

    @property
    def last_update(self) -> int:
        """Last step at which masks change; from it on the sparsity is `final`."""
        return self.start + self.updates * self.every

    def __call__(self, step: int) -> float | None:
        """Sparsity due at `step`, or None when no mask changes there."""
        if not self.start <= step <= self.last_update or (step - self.start) % self.every:
            return None
        left = 1 - (step - self.start) / (self.updates * self.every)
        return self.final + (self.initial - self.final) * left**self.exponent


@dataclass(frozen=True)
class OneStep:
    """Everything at once: train dense, prune at one step, keep the pattern and go on training.

    Yu, Seide, Li, Deng 2012 (hard pruning). `value` is a threshold or a sparsity, as the rule around it wants.
    """

    step: int
    value: float

    @property
    def last_update(self) -> int:
        """The one step."""
        return self.step

    def __call__(self, step: int) -> float | None:
        """`value` at the one step, else None."""
        return self.value if step == self.step else None


@dataclass(frozen=True)
class Rounds:
    """Sparsity in rounds that each take the same share of what is left: s_k = 1 - (1 - share) ** k.

    The rounds of the lottery ticket (Frankle and Carbin 2019; Ding, Chen, Wang 2022 for speech: share = 0.2) and of
    Han et al. 2015. No round goes beyond `final`, and the last one meets it.

    Example:
        >>> rounds = Rounds(final=0.4, share=0.2, steps=(100, 200, 300))
        >>> [round(rounds(step), 3) for step in (100, 200, 300)]
        [0.2, 0.36, 0.4]
    """

    final: float  # share of zeros after the last round
    share: float  # part of the remaining weights that goes per round
    steps: tuple[int, ...]  # one per round, rising

    def __post_init__(self) -> None:
        if not 0 < self.final < 1 or not 0 < self.share < 1:
            raise InputError(f"pruning: sparsity = {self.final} and share = {self.share} must lie between 0 and 1")
        if not self.steps or min(self.steps) < 1 or list(self.steps) != sorted(set(self.steps)):
            raise InputError(
                f"pruning: {len(self.steps)} rounds at steps {self.steps}: each must come after the one before. "
                "Take fewer rounds or train longer"
            )

    @property
    def last_update(self) -> int:
        """Step of the last round."""
        return self.steps[-1]

    def __call__(self, step: int) -> float | None:
        """Sparsity due at `step`, or None when no round ends there."""
        if step not in self.steps:
            return None
        if step == self.steps[-1]:
            return self.final
        return min(self.final, 1 - (1 - self.share) ** (self.steps.index(step) + 1))
