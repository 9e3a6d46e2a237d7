"""Helpers that several test modules share; pytest explains their failed assertions, too."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.errors", f"{__name__}.toy", f"{__name__}.killing")
