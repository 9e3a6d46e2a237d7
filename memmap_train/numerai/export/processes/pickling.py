"""Pickle a model upload: ``python -I pickling.py ORDER``, in the Python that is to load it.

The order is a JSON file: `description` (a pickle of plain values), `code` (the folder with the
package `model_upload`), `cloudpickle` (that package's folder), `path` (the folders that the user's
modules are found in), `modules` (these modules) and `out`. Numpy isn't needed to pickle what
imports it.
"""

import importlib
import importlib.machinery
import importlib.util
import json
import pickle
import sys
import types
from pathlib import Path
from typing import Any


def main() -> None:
    """Write the pickle that the order asks for."""
    order = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    cloudpickle = _imported("cloudpickle", Path(order["cloudpickle"]))
    sys.path.insert(0, order["code"])
    sys.path += order["path"]  # after the interpreter's own packages, which fit it
    sys.path_hooks.insert(0, lambda path: _finder(path, order["code"]))
    own = [importlib.import_module(name) for name in order["modules"]]
    if importlib.util.find_spec("numpy") is None:
        sys.modules["numpy"] = types.ModuleType("numpy")
    # First, since its functions are pickled by value with all that they refer to.
    upload = importlib.import_module("model_upload.prediction")
    for module in (importlib.import_module("model_upload"), *own):
        cloudpickle.register_pickle_by_value(module)
    for name, module in sys.modules.items():
        if name.partition(".")[0] == "model_upload":  # whose paths would be pickled
            vars(module).pop("__file__", None)
            vars(module).pop("__path__", None)
    description = pickle.loads(Path(order["description"]).read_bytes())
    classes = _layers_of(own)
    for model in description["models"]:
        if "keras_file" in model:
            model["classes"] = classes
    Path(order["out"]).write_bytes(cloudpickle.dumps(upload.make_predict(description)))


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles modules without the path that they have on this machine."""

    def get_code(self, fullname: str) -> Any:
        """Return the code of a module."""
        return compile(self.get_data(self.path), f"{fullname}.py", "exec", dont_inherit=True)


def _finder(path: str, code: str) -> importlib.machinery.FileFinder:
    """Return what finds modules in a folder; ImportError if they aren't those of an upload."""
    if not path.startswith(code):
        raise ImportError
    return importlib.machinery.FileFinder(path, (_Loader, [".py"]))


def _imported(name: str, folder: Path) -> Any:
    """Import a package from its folder, without the packages beside it."""
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _layers_of(modules: list[Any]) -> dict[str, Any]:
    """Return the classes and functions of modules that Keras has registered, by their names."""
    if not modules:
        return {}
    import keras

    registered = keras.saving.get_custom_objects()
    names = {module.__name__ for module in modules}
    return {
        name: found
        for name, found in registered.items()
        if getattr(found, "__module__", None) in names
    }


if __name__ == "__main__":
    main()
