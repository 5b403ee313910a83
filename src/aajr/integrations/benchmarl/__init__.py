"""The penalty on every actor-based algorithm of BenchMARL."""

from aajr.integrations.hosts import warn_untested

warn_untested("benchmarl", "1.5.2", "1.6", extra="benchmarl")

from aajr.integrations.benchmarl._penalised import Robustness, robustify  # noqa: E402

__all__ = ["Robustness", "robustify"]
