"""Errors of the user's code, in one line with the line of that code."""

from pathlib import Path

import pytest

from memmap_train.errors import ConfigError
from memmap_train.runs.configuration.object_reference import resolve_reference, user_code


def test_an_error_names_the_users_line_also_where_this_package_has_raised_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    code = "import memmap_train\n\n\ndef build():\n    memmap_train.open_dataset('nowhere')\n"
    module = tmp_path / "opens_a_dataset.py"
    module.write_text(code)
    build = resolve_reference("model", "opens_a_dataset:build")
    with pytest.raises(ConfigError, match="nowhere") as caught, user_code("model"):
        build()
    assert str(caught.value).endswith(f"({module}, line 5)")
