"""Seeds of the parts of a run, derived from the run's own seed and the parts' names."""

from __future__ import annotations

from hashlib import sha256

from aajr._settings import check_count


def derive(seed: int, *names: str | int) -> int:
    """A seed of 32 bits for one part of a run, the same on every platform.

    Seeds of different parts, and of one part under different run seeds, are independent in
    practice. Sums such as ``seed + 1`` are not: part 1 of run 0 would draw the same numbers as part
    0 of run 1.

    Args:
        seed: seed of the run.
        names: words or numbers that name the part, from the general to the specific.

    Returns:
        A number in [0, 2³²), which every generator accepts, also those of NumPy and VMAS.

    Raises:
        ValueError: a negative seed, no names, a name that is neither a word nor a number.

    Example:
        >>> derive(0, "critic", 1)
        1711091611
    """
    check_count("seed", seed, minimum=0)
    if not names:
        raise ValueError(f"names=() would repeat seed={seed} for every part; name the part")
    for name in names:
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise ValueError(f"names={names!r} holds {name!r}; give words and whole numbers")
    text = repr((int(seed), *names))
    return int.from_bytes(sha256(text.encode()).digest()[:4], "big")
