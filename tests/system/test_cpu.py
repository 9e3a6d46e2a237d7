"""The instruction sets of a processor, as Linux lists them."""

from pathlib import Path

import pytest

from memmap_train.system.cpu import cpu_features


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "processor\t: 0\nflags\t\t: fpu avx512_bf16\n\nprocessor\t: 1\nflags\t: fpu\n",
            "avx512_bf16",
        ),
        ("processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd bf16\n", "bf16"),
    ],
)
def test_instruction_sets_are_read(text: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text(text)
    features = cpu_features(root=tmp_path)
    assert features is not None
    assert found in features
    assert "avx2" not in features


@pytest.mark.parametrize("text", [None, "", "model name : unknown\n"])
def test_they_are_unknown_where_the_system_lists_none(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc" / "cpuinfo").write_text(text)
    assert cpu_features(root=tmp_path) is None
