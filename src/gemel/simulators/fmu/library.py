"""The functions of an FMU, loaded and bound by FMPy, and where its messages go."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fmpy import calloc, fmi1, fmi2, fmi3, free, platform, platform_tuple, sharedLibraryExtension
from fmpy.fmi1 import FMICallException

from gemel.simulators.fmu.description import Wiring, missing

ERROR = 3
"""fmi2Error."""
LONGEST = 500
"""Characters of one message that are kept."""


class Absent(FMICallException):  # type: ignore[misc]
    """The FMU leaves out a function, as many do with those that they declare no use for, and it is called."""

    def __init__(self, function: str) -> None:
        super().__init__(function, ERROR)
        self.args = (f"it has no function {function}",)


def library(wiring: Wiring) -> Any:
    """The FMU's functions: once a process, for it takes a while."""
    f = wiring.fmu
    kinds = {
        (1, "cs"): fmi1.FMU1Slave, (1, "me"): fmi1.FMU1Model,
        (2, "cs"): fmi2.FMU2Slave, (2, "me"): fmi2.FMU2Model,
        (3, "cs"): fmi3.FMU3Slave, (3, "me"): fmi3.FMU3Model,
    }  # fmt: skip
    place = Path(wiring.folder, "binaries", platform_tuple if f.version == 3 else platform)
    _beside(place / f"{f.identifier}{sharedLibraryExtension}", set())
    bound = _lenient(kinds[f.version, f.interface])(
        guid=f.token, unzipDirectory=wiring.folder, modelIdentifier=f.identifier, instanceName=f.identifier
    )
    if f.version == 1 and f.interface == "cs":
        for name in ("fmi1InitializeSlave", "fmi1DoStep"):  # bound as texts, and then read where there is none
            bound._functions[name].restype = ctypes.c_int
    return bound


def _beside(path: Path, tried: set[Path]) -> None:
    """Load what a library needs from its own folder, where it does not say itself that it lies there."""
    while True:
        try:
            ctypes.CDLL(os.fspath(path))
            return
        except OSError as error:
            lacking = missing(str(error))
            other = path.parent / lacking
            if not lacking or other in tried or not other.is_file():
                return  # FMPy will say so
            tried.add(other)
            _beside(other, tried)


class _Functions:
    """A library, in which one that is not there is found too and fails when it is called."""

    def __init__(self, found: Any) -> None:
        self._found = found

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(self._found, name)
        except AttributeError:
            return _Gap(name)


class _Gap:
    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *given: Any) -> Any:
        raise Absent(self._name)


def _lenient(kind: Any) -> Any:
    """FMPy's class, which refuses a library that lacks any function, without that."""

    def load(self: Any) -> None:
        self.dll = _Functions(self.dll)
        kind._loadFunctions(self)

    return type(kind.__name__, (kind,), {"_loadFunctions": load})


def logger(version: int, say: Callable[[str], None]) -> Any:
    """The callbacks of an FMU, whose messages go to `say`."""

    def tell(status: int, category: bytes | None, message: bytes | None) -> None:
        if status:
            say((message or category or b"")[:LONGEST].decode("utf-8", "replace").strip())

    if version == 3:
        return lambda _, status, category, message: tell(status, category, message)
    lib: Any = fmi1 if version == 1 else fmi2
    kind = f"fmi{version}Callback"
    made = getattr(lib, f"{kind}Functions")()
    called = getattr(lib, f"{kind}LoggerTYPE")(lambda _c, _i, status, category, text: tell(status, category, text))
    made.logger = called
    made.allocateMemory = getattr(lib, f"{kind}AllocateMemoryTYPE")(calloc)
    made.freeMemory = getattr(lib, f"{kind}FreeMemoryTYPE")(free)
    try:
        from fmpy.logging import addLoggerProxy

        addLoggerProxy(ctypes.byref(made))
    except Exception:  # then messages come with their placeholders, as on platforms that FMPy has no proxy for
        pass
    return made
