"""The penalty on every actor-based algorithm of BenchMARL."""

from aajr.integrations._hosts import tested_range

tested_range("benchmarl", "1.5.2", "1.6", extra="benchmarl")

from aajr.integrations.benchmarl._penalised import Robustness, robustify  # noqa: E402
from aajr.integrations.benchmarl._task import HideAndSeekTask  # noqa: E402

__all__ = ["HideAndSeekTask", "Robustness", "robustify"]
