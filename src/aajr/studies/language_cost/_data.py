"""Questions of arithmetic and comparison with answers, and prose that is not used in training."""

from __future__ import annotations

import random

PROSE = (
    "The river leaves the mountains at a small town where the road crosses it for the first time. "
    "In spring the water is high and brown, and the fishermen stay at home to mend their nets.",
    "A good library lends more than books. It lends a warm room, a quiet hour, and the chance that "
    "a stranger has left a note in the margin that answers a question you had not yet asked.",
    "Bread rises because yeast turns sugar into gas, and the gas is held by the dough. Salt slows "
    "the yeast and makes the dough stronger, so bakers weigh it more carefully than the flour.",
    "When the bridge was built, engineers counted the wagons that crossed it in a day. They could "
    "not have known that within thirty years the wagons would carry engines of their own.",
)
THINGS = ("apples", "books", "coins", "tickets", "stamps", "chairs", "letters", "bottles")
PEOPLE = ("Anna", "Ben", "Carla", "David", "Emma", "Felix", "Greta", "Hugo")


def pairs(count: int, seed: int) -> list[dict[str, str]]:
    """Draw prompts, each with a right and a wrong answer.

    Args:
        count: number of prompts.
        seed: seed of the draw.
    """
    draw = random.Random(f"pairs {seed}")
    found = []
    for _ in range(count):
        first, second = draw.sample(PEOPLE, 2)
        thing, a, b = draw.choice(THINGS), draw.randrange(2, 50), draw.randrange(2, 50)
        more = first if a >= b else second
        question, right, wrong = draw.choice(
            (
                (
                    f"{first} has {a} {thing} and buys {b} more. How many does {first} have?",
                    f"{first} has {a + b} {thing}.",
                    f"{first} has {a + b + draw.randrange(1, 9)} {thing}.",
                ),
                (
                    f"{first} has {a} {thing} and {second} has {b}. Who has more {thing}?",
                    f"{more} has more {thing}.",
                    f"{second if more == first else first} has more {thing}.",
                ),
            )
        )
        prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        found.append({"prompt": prompt, "right": right, "wrong": wrong})
    return found
