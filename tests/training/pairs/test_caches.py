"""What the caches share; the loop itself is tested with the caches that it fills."""

import pytest
import torch
from tiny_photos import write_photo

from photoglue.errors import ConfigError
from photoglue.structs import Features
from photoglue.training.pairs.caches import best_points, digest_of_photos
from photoglue.training.pairs.posed_cache import PosedCacheConfig


def test_best_points_come_first():
    scores = torch.tensor([0.1, 0.9, 0.5, 0.9])
    points = torch.arange(8.0).reshape(4, 2)
    features = Features(keypoints=points, descriptors=torch.eye(4), scores=scores, image_size=(9, 9))
    best = best_points(features, 3)
    assert torch.equal(best.keypoints, points[[1, 3, 2]])
    assert len(best_points(features, 9)) == 4


def test_the_digest_of_photos_is_of_their_content_and_order(tmp_path):
    paths = [write_photo(tmp_path / f"{number}.png", number) for number in range(3)]
    copy = tmp_path / "copy.png"
    copy.write_bytes(paths[0].read_bytes())
    digest = digest_of_photos(paths)
    assert digest_of_photos([copy, *paths[1:]]) == digest
    assert len({digest, digest_of_photos(paths[::-1]), digest_of_photos([*paths[:2], tmp_path / "absent"])}) == 3


def test_numbers_that_make_no_sense_are_refused():
    PosedCacheConfig(seed=0, min_keypoints=1, max_keypoints=1)
    for seed, fewest, most in ((-1, 1, 1), (2**63, 1, 1), (0, 0, 1), (0, 2, 1)):
        with pytest.raises(ConfigError):
            PosedCacheConfig(seed=seed, min_keypoints=fewest, max_keypoints=most)
