"""As much of Ray as a crew uses, in this process. Calls are done one by one in a random order, and can fail."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    """Ray's own errors."""


class RayTaskError(RayError):
    """An error that a method raised."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


Fault = Callable[[int, str, Any], str | None]
"""Is asked before each call: the number of its actor, the method, its arguments; answers die, hang or None."""


class Ref:
    """What a call returns, or will return."""

    def __init__(self, value: Any = None) -> None:
        self.value, self.error, self.done, self.hangs = value, None, False, False


class StandIn:
    """The module ``ray``."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, cpus: int = 2, seed: int = 0, fault: Fault = lambda *_: None) -> None:
        self.cpus, self.fault, self.random = cpus, fault, random.Random(seed)
        self.calls: list[tuple[Ref, Handle, str, Any]] = []
        self.handles: list[Handle] = []
        self.log: list[str] = []

    def is_initialized(self) -> bool:
        """Never."""
        return False

    def init(self, **_: Any) -> None:
        """Begin."""
        self.log.append("init")

    def shutdown(self) -> None:
        """End."""
        self.log.append("shutdown")

    def cluster_resources(self) -> dict[str, float]:
        """The CPUs."""
        return {"CPU": float(self.cpus)}

    def remote(self, body: type) -> Any:
        """A class of actors."""
        factory = SimpleNamespace(remote=lambda *args: Handle(self, body, args))
        return SimpleNamespace(options=lambda **_: factory)

    def put(self, value: Any) -> Ref:
        """Share a value, as a copy."""
        ref = Ref(pickle.loads(pickle.dumps(value)))
        ref.done = True
        return ref

    def kill(self, handle: Handle) -> None:
        """End an actor."""
        handle.alive = False

    def get(self, ref: Ref) -> Any:
        """Wait for a call."""
        while not ref.done:
            self._do(next(call for call in self.calls if call[0] is ref))
        if ref.error is not None:
            raise ref.error
        return ref.value

    def wait(self, refs: list[Ref], num_returns: int, timeout: float) -> tuple[list[Ref], list[Ref]]:
        """Do a call, if none is done."""
        open_calls = [call for call in self.calls if call[0] in refs and self._has_room(call[1])]
        if open_calls and not any(ref.done for ref in refs):
            self._do(self.random.choice(open_calls))
        done = [ref for ref in refs if ref.done][:num_returns]
        return done, [ref for ref in refs if ref not in done]

    def _has_room(self, handle: Handle) -> bool:
        """Whether there is a CPU for an actor; the others wait, as those of Ray do."""
        alive = [one for one in self.handles if one.alive]
        return handle in alive[: self.cpus]

    def _do(self, call: tuple[Ref, Handle, str, Any]) -> None:
        ref, handle, name, args = call
        self.calls.remove(call)
        fault = self.fault(handle.number, name, args)
        if fault == "hang":
            return
        ref.done = True
        if fault == "die" or not handle.alive:
            handle.alive = False
            ref.error = RayError("the actor died")
            return
        try:
            values = [one.value if isinstance(one, Ref) else one for one in args]
            ref.value = pickle.loads(pickle.dumps(getattr(handle.body, name)(*values)))
        except Exception as error:
            ref.error = RayTaskError(error)


class Handle:
    """An actor."""

    def __init__(self, ray: StandIn, body: type, args: tuple[Any, ...]) -> None:
        self.ray, self.body, self.alive = ray, body(*args), True
        ray.handles.append(self)
        self.number = len(ray.handles)

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Ref:
            ref = Ref()
            self.ray.calls.append((ref, self, name, args))
            return ref

        return SimpleNamespace(remote=call)
