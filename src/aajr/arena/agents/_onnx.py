"""Agents stored as ONNX graphs, run by ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from torch import Tensor

from aajr.arena.agents._callables import agent_of_callable
from aajr.arena.agents.agent import RAW, Agent

_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


def agent_of_onnx(
    path: str | os.PathLike[str],
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    *,
    output: str | None = None,
    unit: str = RAW,
    sight: Callable[[np.ndarray], Tensor] | None = None,
) -> Agent:
    """The agent of an ONNX graph; see :meth:`aajr.arena.Agent.from_onnx`, which calls it."""
    session = _session(Path(path))
    entries, ends = session.get_inputs(), {one.name: one for one in session.get_outputs()}
    if len(entries) != 1 or entries[0].type not in _TYPES:
        shown = [f"{one.name}: {one.type}" for one in entries]
        raise ValueError(f"{path} has the inputs {shown}; one array of numbers can be read")
    chosen = output or next(iter(ends))
    if chosen not in ends:
        raise ValueError(f"output={output!r} is not an output of {path}; it has {list(ends)}")
    scores = "int" not in ends[chosen].type and not isinstance(action_space, spaces.Box)
    returns: Literal["actions", "logits"] = "logits" if scores else "actions"
    graph = _Graph(session, entries[0], chosen)
    return agent_of_callable(
        graph,
        observation_space,
        action_space,
        returns=returns,
        unit=unit,
        sight=sight,
        source=str(path),
    )


class _Graph:
    """A graph as a function of observations; one for a fixed number of rows is run in parts."""

    def __init__(self, session: Any, entry: Any, output: str) -> None:
        self.session, self.name, self.output = session, entry.name, output
        self.kind = _TYPES[entry.type]
        self.rows = entry.shape[0] if entry.shape and isinstance(entry.shape[0], int) else None

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        shown = observations.astype(self.kind)
        if self.rows is None:
            return self._run(shown)
        missing = -len(shown) % self.rows
        whole = np.concatenate([shown, shown[:1].repeat(missing, 0)])
        parts = whole.reshape(-1, self.rows, *shown.shape[1:])
        return np.concatenate([self._run(part) for part in parts])[: len(shown)]

    def _run(self, shown: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.session.run([self.output], {self.name: shown})[0]
        return found


def _session(path: Path) -> Any:
    try:
        runtime = import_module("onnxruntime")
    except ImportError as error:
        raise ImportError("from_onnx needs ONNX Runtime: pip install 'aajr[onnx]'") from error
    if not path.is_file():
        raise ValueError(f"{path} is no file; give an ONNX graph")
    try:
        return runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no class but this one
        raise ValueError(f"{path} is no ONNX graph ({error})") from error
