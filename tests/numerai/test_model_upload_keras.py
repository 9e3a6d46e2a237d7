"""Models that only Keras can run are opened by an older Keras than the one that saved them."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from memmap_train.numerai.export.model_upload.keras_file import opened_model, outputs_of
from memmap_train.training.models.saved_configuration import argument_defaults, has_own_code


def saved(model: Any, folder: Path) -> bytes:
    model.save(folder / "model.keras")
    return (folder / "model.keras").read_bytes()


def convolution() -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Reshape((6, 1)),
            layers.Conv1D(2, 3),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )


def with_argument(content: bytes, class_name: str, name: str, value: Any) -> bytes:
    """Return a saved model as a newer Keras would write it, whose classes have an argument more."""

    def changed(part: Any) -> Any:
        if isinstance(part, list):
            return [changed(one) for one in part]
        if not isinstance(part, dict):
            return part
        part = {key: changed(one) for key, one in part.items()}
        if part.get("class_name") == class_name:
            part["config"] = part["config"] | {name: value}
        return part

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(out, "w") as target:
        for entry in source.namelist():
            data = source.read(entry)
            if entry == "config.json":
                data = json.dumps(changed(json.loads(data))).encode()
            target.writestr(entry, data)
    return out.getvalue()


@pytest.mark.parametrize("class_name", ["Dense", "GlorotUniform", "BatchNormalization"])
@pytest.mark.parametrize("value", [None, 0.99, False])
def test_an_argument_of_a_newer_keras_is_left_out_where_it_has_its_default(
    class_name: str, value: Any, tmp_path: Path
) -> None:
    model = convolution()
    content = saved(model, tmp_path)
    defaults = argument_defaults(content)
    newer = with_argument(content, class_name, "argument_of_later", value)
    with pytest.raises(Exception, match="argument_of_later"):
        opened_model(newer, {}, defaults)
    for arguments in defaults.values():
        arguments["argument_of_later"] = value
    x = np.random.default_rng([1]).random((5, 6), np.float32)
    found = outputs_of(opened_model(newer, {}, defaults), x)
    np.testing.assert_array_equal(found, outputs_of(model, x))
    other = with_argument(content, class_name, "argument_of_later", "another value")
    with pytest.raises(Exception, match="argument_of_later"):
        opened_model(other, {}, defaults)


def test_the_defaults_of_all_classes_are_known(tmp_path: Path) -> None:
    defaults = argument_defaults(saved(convolution(), tmp_path))
    assert defaults["keras.layers.Conv1D"]["padding"] == "valid"
    assert defaults["keras.layers.BatchNormalization"]["momentum"] == 0.99
    assert defaults["keras.initializers.GlorotUniform"]["seed"] is None


@keras.saving.register_keras_serializable("ours")
class Halved(keras.layers.Dense):
    def __init__(self, units: int, share: float = 0.5, **options: Any) -> None:
        super().__init__(units, **options)
        self.share = share

    def call(self, inputs: Any) -> Any:
        return self.share * super().call(inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "share": self.share}


@keras.saving.register_keras_serializable("ours")
def bent(x: Any) -> Any:
    return keras.ops.abs(x)


def test_classes_of_the_user_keep_their_arguments_and_need_their_code(tmp_path: Path) -> None:
    own = keras.Sequential([keras.Input((6,)), Halved(2, share=0.25)])
    content = saved(own, tmp_path)
    assert has_own_code(content)
    defaults = argument_defaults(content)
    (of_own,) = (values for name, values in defaults.items() if name.endswith(".Halved"))
    assert of_own["share"] == 0.5
    opened = opened_model(content, {"ours>Halved": Halved}, defaults)
    assert opened.layers[-1].share == 0.25
    function = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, activation=bent)])
    assert has_own_code(saved(function, tmp_path))
    assert not has_own_code(saved(convolution(), tmp_path))
