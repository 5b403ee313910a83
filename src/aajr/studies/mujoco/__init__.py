"""Robust control under one common worst case, beside published results: `aajr study mujoco`."""

from aajr.integrations.hosts import need

need("jax", extra="mujoco")

from aajr.report.provenance import PACKAGES  # noqa: E402
from aajr.studies._study import Study  # noqa: E402
from aajr.studies.mujoco._protocol import FURTHER, LSTM, PROTOCOLS, Attacker, Method, Protocol  # noqa: E402
from aajr.studies.mujoco._recipes import Recipe  # noqa: E402
from aajr.studies.mujoco._report import REPORT  # noqa: E402
from aajr.studies.mujoco._study import gather, methods_of, stages  # noqa: E402


def _decisive(protocol: Protocol) -> dict[str, object]:
    return protocol.facts() | {"methods": [method.facts() for method in methods_of(protocol)]}


STUDY = Study(
    name="mujoco",
    presets=PROTOCOLS,
    stages=stages,
    gather=gather,
    report=REPORT,
    output="mujoco/{preset}",
    decisive=_decisive,
    packages=(*PACKAGES, "jax", "jaxlib", "optax", "gymnasium", "mujoco", "envpool"),
)

__all__ = ["FURTHER", "LSTM", "PROTOCOLS", "STUDY", "Attacker", "Method", "Protocol", "Recipe"]
