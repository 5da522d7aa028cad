"""Holding out utterances where a corpus has no dev or test set of its own. For splits that no corpus fixes."""

from __future__ import annotations

import hashlib
from collections import defaultdict

from .manifest import Utterance


def hold_out(utterances: list[Utterance], share: float) -> tuple[list[Utterance], list[Utterance]]:
    """Split utterances into those that stay and about `share` of them held out, whole speakers at a time.

    Speakers (utterances where no speaker is known) go in the order of the SHA-256 of their name until `share` is
    reached, so the choice depends neither on the order of the files nor on a seed. At least one speaker stays: with a
    single one nothing is held out.
    """
    groups = defaultdict(list)
    for utterance in utterances:
        groups[utterance.speaker or utterance.id].append(utterance.id)
    held: set[str] = set()
    for speaker in sorted(groups, key=lambda name: hashlib.sha256(name.encode()).digest())[1:]:
        if len(held) >= share * len(utterances):
            break
        held.update(groups[speaker])
    stay = [utterance for utterance in utterances if utterance.id not in held]
    return stay, [utterance for utterance in utterances if utterance.id in held]
