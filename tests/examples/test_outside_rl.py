"""Outside reinforcement learning, too, adversarial training beats noise of the same size."""

from __future__ import annotations

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_regression_under_shift():
    example = runpy.run_path(str(EXAMPLES / "robust_regression.py"))
    losses = example["methods"]()
    errors = {name: example["errors"](example["train"](losses[name])) for name in losses}
    shifted = {name: worst for name, (_, worst) in errors.items()}
    assert shifted["adversarial"] < 0.9 * shifted["noise"] < 0.9 * shifted["plain"]
    assert all(clean < worst for clean, worst in errors.values())
    assert errors["AAJR"][0] < 0.15


def test_diffusion_under_an_attacked_label():
    example = runpy.run_path(str(EXAMPLES / "diffusion_conditioning.py"))
    nets = {name: example["train"](name, updates=800) for name in ("plain", "adversarial")}
    assert min(example["right_blob"](net, False) for net in nets.values()) > 0.9
    assert example["right_blob"](nets["plain"], True) < 0.3
    assert example["right_blob"](nets["adversarial"], True) > 0.6
