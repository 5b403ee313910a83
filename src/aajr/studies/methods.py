"""Names and line styles of the methods, the same in every table and plot."""

from __future__ import annotations

from aajr.report.style import AMBER, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY

RED = "#CC3311"

NAMES = {"aajr": "AAJR", "sa": "SA", "ernie": "ERNIE"}

LOOKS: dict[str, tuple[str, str, str]] = {
    "aajr": (BLUE, "o", "-"),
    "adversarial": (GREY, "s", "-"),
    "plain": ("#999999", "X", ":"),
    "recipe": ("#000000", "x", ":"),
    "global": (ORANGE, "^", "-"),
    "global_attackable": (ORANGE, "v", "--"),
    "spectral": (AMBER, "P", "-."),
    "random_direction": (GREEN, "D", "-"),
    "random_gradient": (GREEN, "d", "--"),
    "aajr_gradient": (SKY, "o", "--"),
    "aajr_clean": (BLUE, "8", "--"),
    "adversarial_update": (GREY, "H", ":"),
    "global_reports": (ORANGE, "<", "-."),
    "global_moved": (AMBER, "v", "-"),
    "input_gradient": (SKY, "P", "-."),
    "median": (RED, "*", "-"),
    "median_adversarial": (RED, "P", "--"),
    "plain_lies": ("#999999", "*", "-."),
    "sa": (PURPLE, "h", "-"),
    "noise": ("#999999", "v", "--"),
    "aajr_value": (SKY, "8", "-"),
    "aajr_adversarial": (BLUE, "P", "-."),
    "atla": (AMBER, "s", "--"),
    "atla_sa": (PURPLE, "s", "-."),
    "atla_aajr": (BLUE, "s", ":"),
    "ernie": (PURPLE, "p", "--"),
}
"""Colour, marker and line of each method, the same in every plot."""


def look(method: str) -> tuple[str, str, str]:
    """Colour, marker and line style of a method; unknown methods share a default style."""
    return LOOKS.get(method, ("#000000", "*", "-."))


def method_title(name: str) -> str:
    """Printed name of a method: ``aajr_gradient`` becomes ``AAJR gradient``."""
    head, *rest = name.split("_")
    return " ".join([NAMES.get(head, head), *rest])
