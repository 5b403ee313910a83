"""Audit a torch module of your own: what is proved about it, and what is only measured.

Run it with ``python examples/audit_module.py``; it takes a few seconds and writes
``audit/audit.html`` and ``audit/audit.json``. Needs ``pip install 'aajr[certify]'``.
"""

from __future__ import annotations

import torch
from torch import nn

import aajr
from aajr.certification import audit, write_audit


def trained_controller() -> tuple[nn.Module, torch.Tensor]:
    """A controller of a pendulum, trained to imitate a linear law, and states of the pendulum."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1), nn.Tanh())
    states = torch.randn(512, 2, generator=generator)
    torque = torch.tanh(states @ torch.tensor([[-2.0], [-0.8]]))
    optimiser = torch.optim.Adam(policy.parameters(), lr=0.01)
    for _ in range(300):
        optimiser.zero_grad()
        nn.functional.mse_loss(policy(states), torque).backward()
        optimiser.step()
    return policy, states[:128]


def main() -> None:
    """Audit a module and write the page, in five lines."""
    policy, states = trained_controller()  # 1
    ball = aajr.Ball("linf", 0.05, scale=torch.tensor([1.0, 2.0]))  # 2
    found = audit(policy, states, ball, epsilon_unit="radians", gamma=3.0)  # 3
    page = write_audit(found, "audit")  # 4
    print(f"proven {not found.not_certified}; see {page}")  # 5
    for quantity in found.quantities:
        if quantity.name in ("change_found", "change_certified"):
            print(f"{quantity.kind:>9}: {quantity.label}, at worst {quantity.quantile(1.0):.3f}")


if __name__ == "__main__":
    main()
