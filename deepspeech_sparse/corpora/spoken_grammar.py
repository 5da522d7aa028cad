"""The sentences of the embedded corpus: digits, numbers, names and commands, about seventy words. No audio here."""

import random

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
NAMES = ("anna", "carlos", "david", "emma", "frank", "helen", "oscar", "sofia")
ROOMS = ("kitchen", "bedroom", "garden", "office")
THINGS = ("light", "radio", "window", "heating")


def number(draw: random.Random) -> str:
    """A number from one to ninety nine, in words."""
    value = draw.randint(1, 99)
    if value < 10:
        return DIGITS[value]
    if value < 20:
        return TEENS[value - 10]
    tens, ones = divmod(value, 10)
    return TENS[tens - 2] + (f" {DIGITS[ones]}" if ones else "")


def digits(draw: random.Random) -> str:
    """Three to five digits, as in a telephone number."""
    return " ".join(draw.choices(DIGITS, k=draw.randint(3, 5)))


def sentence(draw: random.Random) -> str:
    """One sentence, lower case, letters, spaces and apostrophes only."""
    name, room, thing = draw.choice(NAMES), draw.choice(ROOMS), draw.choice(THINGS)
    switch = draw.choice(("on", "off"))
    patterns = (
        lambda: digits(draw),
        lambda: digits(draw),
        lambda: f"call {name} on {digits(draw)}",
        lambda: f"send {name} {number(draw)} dollars",
        lambda: f"turn {switch} the {room} {thing}",
        lambda: f"set a timer for {number(draw)} minutes",
        lambda: f"{name}'s address is {number(draw)} {room} road",
        lambda: f"tell {name} i'm in the {room}",
    )
    return draw.choice(patterns)()
