"""Names that a module imports at their first use. Imports nothing of the package."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_attributes(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__``, which imports names from where they are defined.

    Parameters
    ----------
    module : str
        The name of the module that gets these attributes.
    homes : mapping of str to str
        Maps each name to the module that defines it, such as "dataset.dataset".
    """

    def getattribute(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        value = getattr(import_module(f".{homes[name]}", __package__), name)
        setattr(sys.modules[module], name, value)
        return value

    return getattribute
