"""Holding out utterances where a corpus has no dev or test set of its own. For splits that no corpus fixes."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict

from .manifest import Utterance

log = logging.getLogger(__name__)


def hold_out(utterances: list[Utterance], share: float) -> tuple[list[Utterance], list[Utterance]]:
    """Split utterances into those that stay and about `share` of them held out, whole speakers at a time.

    Speakers (utterances where no speaker is known) go in the order of the SHA-256 of their name until `share` is
    reached, so the choice depends neither on the order of the files nor on a seed. One who would take more than twice
    the share stays, unless all speak so much; at least one stays. Of a single speaker utterances are held out, which
    the log says: such error rates are too good for other voices.
    """
    groups = defaultdict(list)
    for utterance in utterances:
        groups[utterance.speaker or utterance.id].append(utterance.id)
    wanted, order = share * len(utterances), sorted(groups, key=hashed)
    most = max(2 * wanted, min(map(len, groups.values()), default=0))
    held: set[str] = set()
    for number, speaker in enumerate(order[1:] + order[:1], start=1):
        if len(held) >= wanted or (number == len(order) and len(held) + len(groups[speaker]) == len(utterances)):
            break
        if len(held) + len(groups[speaker]) <= most:
            held.update(groups[speaker])
    if len(groups) == 1 and len(utterances) > 1:
        log.warning(
            "all %d utterances are of one speaker, so utterances are held out: expect worse of others", len(utterances)
        )
        held = set(sorted((utterance.id for utterance in utterances), key=hashed)[: max(1, round(wanted))])
    stay = [utterance for utterance in utterances if utterance.id not in held]
    return stay, [utterance for utterance in utterances if utterance.id in held]


def hashed(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
