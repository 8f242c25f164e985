"""Two small real photos, and what they can be turned into."""

import PIL.Image
import pytest


@pytest.fixture(scope="module")
def small_pair(motorcycle):
    """The demo pair at half its size, as PIL images."""
    return [PIL.Image.open(path).convert("RGB").resize((370, 250)) for path in motorcycle]


@pytest.fixture(scope="module")
def diagnosed():
    """``diagnose`` with few points of small photos."""

    def run(image0, image1, **options):
        from photoglue.doctor import diagnose

        return diagnose(image0, image1, **{"max_keypoints": 512, "resize": 370, **options})

    return run


@pytest.fixture(scope="module")
def first_finding(diagnosed):
    """The first finding of a pair."""

    def run(image0, image1, **options):
        found = diagnosed(image0, image1, **options)
        assert found.findings, found
        return found.findings[0]

    return run
