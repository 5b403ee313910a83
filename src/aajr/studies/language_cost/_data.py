"""Questions of arithmetic and comparison with answers."""

from __future__ import annotations

import random

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
