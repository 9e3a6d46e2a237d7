"""The text of a target transform, taken apart."""

import pytest

from memmap_train.runs.configuration.target_transforms import TargetTransform


@pytest.mark.parametrize(
    "text", ["", "ranks", "rank+", "+rank", "none+rank", "residual", "residual:", "RANK", "rank "]
)
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no target transform"):
        TargetTransform.parse(text)


def test_the_benchmarks_of_a_transform_are_those_it_takes_residuals_to() -> None:
    assert TargetTransform.parse("rank").benchmarks == ()
    transform = TargetTransform.parse("residual:b+rank+residual:a+residual:b")
    assert transform.benchmarks == ("b", "a")
