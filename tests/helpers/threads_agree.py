"""What a network finds must not depend on threads, nor on the photo before."""

import torch

from photoglue.extractors.base import Extractor


def assert_threads_agree(network: Extractor, image: torch.Tensor) -> None:
    """The same bits from 1, 3 and 1 threads, with another photo between."""
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3, 1):
            torch.set_num_threads(threads)
            found.append(network.detect(image[None])[0])
            network.detect(torch.rand(1, 3, 64, 64))
    finally:
        torch.set_num_threads(before)
    assert len(found[0]) > 0
    for each in found[1:]:
        for name in ("keypoints", "scores", "descriptors"):
            assert torch.equal(getattr(each, name), getattr(found[0], name)), name
