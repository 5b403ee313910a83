"""Second implementations with whole Jacobians and metric matrices, in float64.

Nothing here uses the estimators, metrics or penalties of aajr; only torch.func and formulas.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from aajr import Categorical, DiagonalGaussian, Euclidean, Metric

INPUTS, OUTPUTS, BATCH = 5, 6, 4

METRICS: dict[str, Metric] = {
    "euclidean": Euclidean(),
    "categorical": Categorical(),
    "heads": Categorical(heads=(2, 4)),
    "gaussian": DiagonalGaussian(),
}


def tanh_net(
    inputs: int = INPUTS,
    outputs: int = OUTPUTS,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> nn.Sequential:
    """A small nonlinear policy with weights of order one."""
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs)).to(dtype)
    with torch.no_grad():
        for parameter in net.parameters():
            draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(draw * 0.5)
    return net


def inputs(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal inputs."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape or (BATCH, INPUTS), generator=generator, dtype=torch.float64).to(dtype)


def jacobian(policy: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """J of every row, ``[batch, outputs, inputs]``, differentiable in the parameters."""
    return torch.func.vmap(torch.func.jacrev(lambda row: policy(row.unsqueeze(0)).squeeze(0)))(x)


def factor_matrix(metric: Metric, u: Tensor) -> Tensor:
    """S(u) with S Sᵀ = M(u), ``[batch, outputs, outputs]``."""
    if isinstance(metric, Euclidean):
        return torch.eye(u.shape[-1], dtype=u.dtype).expand(u.shape[0], -1, -1)
    if isinstance(metric, DiagonalGaussian):
        size = u.shape[-1] // 2
        inverse = (-u[:, size:]).exp()
        return torch.diag_embed(torch.cat([inverse, torch.full_like(inverse, 2**0.5)], -1))
    heads = _heads(metric, u)
    p = torch.cat([logits.softmax(-1) for logits in torch.split(u, heads, -1)], -1)
    head = torch.arange(len(heads)).repeat_interleave(torch.tensor(heads))
    same_head, root = head == head.unsqueeze(-1), p.sqrt()
    return torch.diag_embed(root) - same_head * p.unsqueeze(-1) * root.unsqueeze(-2)


def _heads(metric: Metric, u: Tensor) -> list[int]:
    return list((isinstance(metric, Categorical) and metric.heads) or u.shape[-1:])


def metric_matrix(metric: Metric, u: Tensor) -> Tensor:
    """M(u), ``[batch, outputs, outputs]``."""
    factor = factor_matrix(metric, u)
    return factor @ factor.transpose(-1, -2)


def squared_norm(policy: nn.Module, metric: Metric, x: Tensor, v: Tensor) -> Tensor:
    """vᵀ Jᵀ M J v, ``[batch]``."""
    product = jacobian(policy, x) @ v.unsqueeze(-1)
    return (product.transpose(-1, -2) @ metric_matrix(metric, policy(x)) @ product).flatten()


def divergence(metric: Metric, u: Tensor, w: Tensor) -> Tensor:
    """½‖u - w‖² or KL from torch.distributions, ``[batch]``."""
    if isinstance(metric, Euclidean):
        return ((u - w) ** 2).sum(-1) / 2
    if isinstance(metric, DiagonalGaussian):
        size = u.shape[-1] // 2
        normals = [
            torch.distributions.Normal(t[..., :size], t[..., size:].exp(), validate_args=False)
            for t in (u, w)
        ]
        return torch.distributions.kl_divergence(*normals).sum(-1)
    heads = _heads(metric, u)
    first, second = (
        [
            torch.distributions.Categorical(logits=logits, validate_args=False)
            for logits in torch.split(t, heads, -1)
        ]
        for t in (u, w)
    )
    return torch.stack(list(map(torch.distributions.kl_divergence, first, second))).sum(0)


def parameter_gradient(value: Tensor, policy: nn.Module) -> Tensor:
    """∇_θ of the sum of ``value``, flattened."""
    parameters = list(policy.parameters())
    gradients = torch.autograd.grad(value.sum(), parameters, allow_unused=True)
    flat = [
        torch.zeros_like(p).flatten() if g is None else g.flatten()
        for p, g in zip(parameters, gradients, strict=True)
    ]
    return torch.cat(flat)


def assert_matches(
    value: Tensor, expected: Tensor, policy: nn.Module, *, tolerance: float = 1e-9
) -> None:
    """Value and parameter gradient agree, relative to the size of the expected ones."""
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance * scale)
    gradient = parameter_gradient(expected, policy)
    found = parameter_gradient(value, policy)
    scale = float(gradient.abs().max())
    assert scale > 1e-6, "the oracle has no gradient, so the comparison would prove nothing"
    torch.testing.assert_close(found, gradient, rtol=tolerance, atol=tolerance * scale)
