"""Real features of real photos, as the official extractors give them: fed to both implementations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


class Photos:
    """Official features of photos, extracted once each; the best points first."""

    def __init__(self, official):
        self._official = official
        self._extractors = {}
        self._features = {}

    def __call__(self, kind: str, path: Path, crop: str = "whole", count: int = 2048):
        from photoglue.structs import Features

        key = (kind, path, crop)
        if key not in self._features:
            if kind not in self._extractors:
                self._extractors[kind] = {
                    "aliked": lambda: self._official.ALIKED(max_num_keypoints=2048, detection_threshold=-1),
                    "disk": lambda: self._official.DISK(max_num_keypoints=2048),
                }[kind]().eval()
            image = cropped(np.asarray(Image.open(path).convert("RGB")), crop)
            tensor = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
            with torch.no_grad():
                found = self._extractors[kind].extract(tensor, resize=None)
            order = found["keypoint_scores"][0].argsort(descending=True)
            self._features[key] = Features(
                keypoints=found["keypoints"][0][order],
                descriptors=found["descriptors"][0][order],
                scores=found["keypoint_scores"][0][order],
                image_size=(image.shape[1], image.shape[0]),
                kind={"aliked": "aliked-n16", "disk": "disk"}[kind],
            )
        return self._features[key][:count]


def cropped(image, crop: str):
    height, width = image.shape[:2]
    side = min(height, width)
    return {
        "whole": image,
        "half": image[::2, ::2],
        "square": image[:side, :side],
        "3:1": image[height // 3 : height // 3 + width // 3],
        "portrait": image[:, width // 4 : width // 4 + height // 2],
    }[crop]


@pytest.fixture(scope="session")
def photos(official):
    return Photos(official)


@pytest.fixture(scope="session")
def strecha(shared_data):
    folder = shared_data / "eval" / "strecha" / "fountain-P11" / "images"
    return sorted(folder.glob("*.jpg"))[3:6:2]


@pytest.fixture(scope="session")
def reichstag(shared_data):
    return sorted((shared_data / "eval" / "imb_reichstag" / "images").glob("*.jpg"))[:2]


def with_kind(features, kind):
    return replace(features, kind=kind)
