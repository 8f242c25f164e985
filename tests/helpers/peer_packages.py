"""Other people's packages that tests compare with; a test that needs one skips, with the reason, where it is not."""

from types import ModuleType

import pytest


def transformers_or_skip(*models: str) -> ModuleType:
    """The package transformers, if these of its models can be imported; it does so itself only when they are asked for.

    Args:
        models: Names of their folders, such as ``"superpoint"``.
    """
    for model in models:
        pytest.importorskip(f"transformers.models.{model}.modeling_{model}", exc_type=ImportError)
    return pytest.importorskip("transformers", exc_type=ImportError)
