"""Making any number of copies of one Gymnasium environment."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from aajr.arena.environments.named import resolve

try:
    import gymnasium
    from gymnasium.envs.registration import EnvSpec
except ImportError as error:
    raise ImportError(
        "aajr.arena.environments.gymnasium needs Gymnasium: pip install 'aajr[sb3]'"
    ) from error

Source: TypeAlias = str | EnvSpec | gymnasium.Env[Any, Any] | Callable[[], Any]
"""A registered name, ``package.module:factory``, a specification, an environment or a factory."""


def maker(source: Source) -> Callable[..., Any]:
    """A function that makes one environment; it takes ``render_mode``.

    Raises:
        ValueError: an object that cannot be copied, or one that is no environment; a name that
            Gymnasium does not know.
    """
    if isinstance(source, str) and not _names_object(source):
        return _making(source)
    if isinstance(source, str):
        return maker(resolve(source))
    if isinstance(source, EnvSpec):
        return _making(source)
    if isinstance(source, gymnasium.Env):
        return _making(_recorded(source))
    if hasattr(source, "reset") and not isinstance(source, type):
        raise _foreign(source, f"is a {type(source).__name__}")
    if callable(source):
        return _calling(source)
    raise ValueError(
        f"source={source!r} is a {type(source).__name__}, of which no further copies can be made; "
        "give a registered name, or a function that makes one environment"
    )


def describe(source: Source) -> str:
    """The source in words that do not change from run to run."""
    if isinstance(source, str):
        return source
    if isinstance(source, gymnasium.Env):
        source = _recorded(source)
    if isinstance(source, EnvSpec):
        return source.id if source == gymnasium.registry.get(source.id) else _full(source)
    function: Any = getattr(source, "func", source)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{function.__module__}:{name}"


def _names_object(name: str) -> bool:
    """Whether a name is ``module:attribute``; Gymnasium's ``module:Name-v0`` has a dash."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and all(p.isidentifier() for p in (module + "." + attribute).split("."))


def _making(spec: str | EnvSpec) -> Callable[..., Any]:
    def make(**settings: Any) -> Any:
        try:
            return gymnasium.make(spec, **settings)
        except gymnasium.error.UnregisteredEnv as error:
            raise ValueError(f"source={spec!r} is not registered with Gymnasium: {error}") from None
        except gymnasium.error.DependencyNotInstalled as error:
            raise ImportError(f"source={spec!r} cannot be made: {error}") from error

    return make


def _calling(factory: Callable[..., Any]) -> Callable[..., Any]:
    def make(**settings: Any) -> Any:
        known = inspect.signature(factory).parameters
        taken = any(p.kind is p.VAR_KEYWORD for p in known.values())
        made = factory(**{k: v for k, v in settings.items() if taken or k in known})
        if not isinstance(made, gymnasium.Env):
            raise _foreign(describe(factory), f"made a {type(made).__name__}")
        return made

    return make


def _foreign(source: Any, what: str) -> ValueError:
    return ValueError(
        f"source={source!r} {what}, which is no gymnasium.Env; for PettingZoo there is "
        "PettingZooEnvironment, and aajr.integrations has classes for TorchRL, VMAS, gymnax, "
        "JaxMARL and EnvPool"
    )


def _recorded(environment: gymnasium.Env[Any, Any]) -> EnvSpec:
    """The specification from which copies of an environment can be made, wrappers included."""
    spec = environment.spec
    missing = spec is None or any(w.kwargs is None for w in spec.additional_wrappers)
    if spec is None or missing:
        raise ValueError(
            f"source={environment} does not know how it was made, so no further copies can be "
            "made for parallel episodes; give its registered name, or a function that makes it"
        )
    return spec


def _full(spec: EnvSpec) -> str:
    """A specification with arguments and wrappers, in words."""
    try:
        return spec.to_json()
    except TypeError:  # a wrapper holds a function
        wrappers = [f"{one.entry_point} {sorted(one.kwargs)}" for one in spec.additional_wrappers]
        return f"{spec.id} {sorted(spec.kwargs)} {wrappers}"
