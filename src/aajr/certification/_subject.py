"""The audited policy: its identity (hash and facts), and its network for bounds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from ctypes import string_at

import torch
from torch import Tensor, nn

from aajr._modes import evaluating
from aajr.certification._bounds import MOST_MEMORY, Method, bytes_per_row
from aajr.certification._linear import FlatConv
from aajr.certification._network import Network, UnsupportedLayersError, read_network


def weights_hash(policy: nn.Module) -> str:
    """SHA-256 of the names, types, shapes and values of a module's state."""
    digest = hashlib.sha256()
    for name, value in sorted(policy.state_dict().items()):
        if isinstance(value, Tensor):
            plain = value.detach().cpu().contiguous()
            digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
            digest.update(string_at(plain.data_ptr(), plain.nbytes))  # .numpy() would need NumPy
    return digest.hexdigest()


def subject_of(
    policy: Callable[[Tensor], Tensor], states: Tensor
) -> tuple[dict[str, str], str, Network | None]:
    """Facts that identify the policy, the reason why nothing can be certified, and its network.

    The reason is empty if there is a network; the network is None if there is a reason.
    """
    facts = {"policy": type(policy).__name__, "weights_sha256": "none: not a torch.nn.Module"}
    if isinstance(policy, nn.Module):
        count = sum(p.numel() for p in policy.parameters())
        facts |= {"weights_sha256": weights_hash(policy), "parameters": str(count)}
    try:
        network = read_network(policy, states)
    except UnsupportedLayersError as error:
        return facts | {"audited_in": str(states.dtype)}, str(error), None
    layers = ", ".join(_layer_name(layer) for layer in network.layers)
    facts |= {"layers": layers, "audited_in": "torch.float64"}
    if bound_method(network) == "ibp":
        needed = bytes_per_row(network.layers) / 2**30
        facts["bounds"] = f"IBP alone: CROWN would need about {needed:.0f} GiB for a state"
    return facts, "", network


def bound_method(network: Network) -> Method:
    """CROWN, or IBP for a network that is too wide for it."""
    return "crown" if bytes_per_row(network.layers) <= MOST_MEMORY else "ibp"


def check_precision(policy: Callable[[Tensor], Tensor], states: Tensor) -> None:
    """Raise ValueError if a policy without a float64 copy is in half or another precision."""
    parameters = policy.parameters() if isinstance(policy, nn.Module) else iter(())
    own = next((p.dtype for p in parameters if p.is_floating_point()), states.dtype)
    half = (torch.float16, torch.bfloat16)
    if own != states.dtype and own not in half:
        raise ValueError(
            f"states has dtype {states.dtype} but the policy {own}; give states.to(...)"
        )
    with torch.no_grad(), evaluating(policy):
        output = own if own in half else policy(states[:1].detach()).dtype
    if own in half or output in half:
        raise ValueError(
            "the policy computes in float16 or bfloat16, and its layers cannot be copied to "
            "float64; what an audit measured would be rounding. Give "
            "copy.deepcopy(policy).float() and states.float(), without autocast"
        )


def _layer_name(layer: nn.Module) -> str:
    if isinstance(layer, nn.Linear):
        return f"Linear({layer.in_features}, {layer.out_features})"
    if isinstance(layer, FlatConv):
        return type(layer.conv).__name__
    return type(layer).__name__
