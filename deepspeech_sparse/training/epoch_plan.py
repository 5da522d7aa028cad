"""Which utterances share a batch: filled by seconds of audio, so that any batch of any epoch can be found again.

The plan of an epoch is a pure function of (utterances, seed, epoch): a resumed run skips what it has seen and goes on
as if it had never stopped.
"""

import random


def fill_batches(durations: list[float], order: list[int], seconds: float) -> list[list[int]]:
    """Cut `order` into batches of at most `seconds`, counted as batch size times longest utterance.

    An utterance longer than `seconds` is a batch of its own.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    longest = 0.0
    for index in order:
        longest = max(longest, durations[index])
        if batch and longest * (len(batch) + 1) > seconds:
            batches.append(batch)
            batch, longest = [], durations[index]
        batch.append(index)
    return [*batches, batch] if batch else batches


def plan_epoch(
    durations: list[float], *, seconds: float, seed: int, epoch: int, sorta_grad: bool, blur: float = 0.0
) -> list[list[int]]:
    """Batches of one training epoch: utterances of similar length together, batches in random order.

    With `sorta_grad` the first epoch runs from the shortest to the longest. In every other the batch with most padded
    seconds comes first, so a machine with too little memory fails at once and not after hours.

    Args:
        durations: seconds of the utterances in this epoch
        blur: share by which they are made longer or shorter before they are sorted, so that an utterance meets other
            neighbours in every epoch; costs padding
    """
    indices = range(len(durations))
    if sorta_grad and epoch == 0:
        return fill_batches(durations, sorted(indices, key=lambda i: (durations[i], i)), seconds)
    draw = random.Random(f"{seed} {epoch}")
    blurred = [duration * draw.uniform(1 - blur, 1 + blur) for duration in durations]
    batches = fill_batches(durations, sorted(indices, key=lambda i: (blurred[i], i)), seconds)
    draw.shuffle(batches)
    largest = max(range(len(batches)), key=lambda b: len(batches[b]) * max(durations[i] for i in batches[b]))
    batches.insert(0, batches.pop(largest))
    return batches


class EpochPlan:
    """The batches of an epoch as a torch batch sampler that starts after those already done."""

    def __init__(self, batches: list[list[int]], done: int = 0) -> None:
        self.batches = batches
        self.done = done

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self):
        yield from self.batches[self.done :]
