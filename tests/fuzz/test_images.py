"""Image files of every format, whole and damaged: an image in [0, 1], or one error that says why not."""

import random

import pytest
import torch
from fuzzing import damaged, odd_image, seeds, written


def _check(image):
    assert image.ndim == 3
    assert image.shape[0] in (1, 3)
    assert image.dtype == torch.float32
    assert image.isfinite().all()
    assert 0 <= float(image.min()) <= float(image.max()) <= 1.001


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_whole_images_are_read_with_their_size(tmp_path, tries):
    from photoglue.image import load_image

    numbers = seeds(150, 0.25)
    for number in numbers:
        suffix, content, size = odd_image(random.Random(number))
        path = written(tmp_path, suffix, content)

        def check(image, size=size, suffix=suffix):
            _check(image)
            if suffix != ".ico":  # Pillow stores smaller ones instead
                assert sorted(image.shape[1:]) == sorted(size)

        tries(lambda path=path: load_image(path), f"image {number} ({suffix}, {size})", check)
        path.unlink()
    assert tries.outcomes["accepted"] > 0.7 * len(numbers)  # 32-bit and floating TIFFs without a range are refused


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_damaged_images_are_read_or_refused(tmp_path, tries):
    from photoglue.image import load_image

    numbers = seeds(300, 0.25)
    for number in numbers:
        source = random.Random(1_000_000 + number)
        suffix, content, _ = odd_image(source)
        path = written(tmp_path, suffix, damaged(content, source))
        tries(lambda path=path: load_image(path), f"damaged image {number} ({suffix})", _check)
        path.unlink()
    assert tries.outcomes["refused"] > 0.1 * len(numbers)
