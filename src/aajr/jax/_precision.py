"""The coarsest precision in which a traced program computes what depends on its input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Var
from jax.lax import DotAlgorithmPreset, Precision

_TF32 = 2.0**-10
_BFLOAT16 = 2.0**-7
# precision of a float32 product unless the highest precision is requested
_FAST = {"gpu": _TF32, "tpu": _BFLOAT16}
_PRODUCTS = ("dot_general", "conv_general_dilated")
_LOOPS = ("scan", "while")


def machine_epsilon(dtype: Any) -> float:
    """ε of a floating dtype, 0 of any other."""
    floating = jnp.issubdtype(dtype, jnp.floating)
    return float(jnp.finfo(dtype).eps) if floating else 0.0  # type: ignore[no-untyped-call]


def coarsest_epsilon(program: ClosedJaxpr) -> float:
    """The largest machine epsilon among the values that depend on the program's arguments.

    Parameters kept in half precision but computed with in float32 do not count. A float32 product
    counts as TF32 on a GPU and as bfloat16 on a TPU, unless its precision is ``HIGHEST``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> program = jax.make_jaxpr(lambda x: jnp.sin(x.astype(jnp.bfloat16)))(jnp.ones(3))
        >>> coarsest_epsilon(program)
        0.0078125

    Source: the defaults of ``jax.lax.Precision``.
    """
    arguments = program.jaxpr.invars
    own = max((machine_epsilon(_dtype(v)) for v in arguments), default=0.0)
    return max(own, _spread(program.jaxpr, [True] * len(arguments))[0])


def programs_in(equation: JaxprEqn) -> list[Jaxpr]:
    """The programs that an equation calls."""
    return list(_inner(equation.params.values()))


def _inner(values: Any) -> Iterator[Jaxpr]:
    for value in values:
        if isinstance(value, ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, Jaxpr):
            yield value
        elif isinstance(value, tuple | list):
            yield from _inner(value)


def _spread(program: Jaxpr, touched: Sequence[bool]) -> tuple[float, list[bool]]:
    """The coarsest ε of the values that depend on the touched inputs, and which results do."""
    known = {v for v, hit in zip(program.invars, touched, strict=True) if hit}
    coarsest = 0.0
    for equation in program.eqns:
        hits = [isinstance(v, Var) and v in known for v in equation.invars]
        if any(hits):
            epsilon, results = _through(equation, hits)
            coarsest = max(coarsest, epsilon)
            known.update(v for v, hit in zip(equation.outvars, results, strict=True) if hit)
    return coarsest, [isinstance(v, Var) and v in known for v in program.outvars]


def _through(equation: JaxprEqn, hits: list[bool]) -> tuple[float, list[bool]]:
    everything = [True] * len(equation.outvars)
    inner = programs_in(equation)
    if not inner:
        return _own(equation), everything
    call = len(inner) == 1 and len(inner[0].invars) == len(hits)
    if call and equation.primitive.name not in _LOOPS:
        return _spread(inner[0], hits)
    # every input of a loop or a branch may reach all values that it computes
    found = [_spread(program, [True] * len(program.invars))[0] for program in inner]
    return max(found), everything


def _own(equation: JaxprEqn) -> float:
    epsilons = [machine_epsilon(_dtype(v)) for v in equation.outvars]
    if equation.primitive.name in _PRODUCTS:
        epsilons.append(_of_product(equation))
    return max(epsilons, default=0.0)


def _of_product(equation: JaxprEqn) -> float:
    precision = equation.params.get("precision")
    if isinstance(precision, DotAlgorithmPreset) and precision != DotAlgorithmPreset.DEFAULT:
        first, *rest = precision.name.split("_")
        passes = rest[-1].startswith("X")
        return 0.0 if passes else {"BF16": _BFLOAT16, "TF32": _TF32, "F16": _TF32}.get(first, 0.0)
    single = all(_dtype(v) == jnp.float32 for v in equation.invars)
    exact = precision in (Precision.HIGHEST, (Precision.HIGHEST, Precision.HIGHEST))
    return _FAST.get(jax.default_backend(), 0.0) if single and not exact else 0.0


def _dtype(value: Any) -> Any:
    return getattr(value.aval, "dtype", None)
