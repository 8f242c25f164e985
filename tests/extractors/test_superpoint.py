"""SuperPoint against that of `transformers` with the same random weights, and what holds for every extractor.

The released weights may not be passed on; none of this needs them.
"""

import dataclasses

import numpy as np
import pytest
import torch
from peer_packages import transformers_or_skip
from torch.nn import functional

from photoglue import weights
from photoglue.errors import ConfigError, LicenceError, ShapeError, WeightsError
from photoglue.extractors.superpoint import WEIGHTS, SuperPoint, SuperPointConfig
from photoglue.image import load_image, to_gray

EVERYTHING = SuperPointConfig(max_keypoints=None, resize=None, precision="float32")
SELECTIVE = dataclasses.replace(EVERYTHING, detection_threshold=0.02)

TRANSFORMERS_NAMES = {
    **{f"conv{i + 1}{x}": f"encoder.conv_blocks.{i}.conv_{x}" for i in range(4) for x in "ab"},
    "convPa": "keypoint_decoder.conv_score_a",
    "convPb": "keypoint_decoder.conv_score_b",
    "convDa": "descriptor_decoder.conv_descriptor_a",
    "convDb": "descriptor_decoder.conv_descriptor_b",
}


def lively(config: SuperPointConfig = EVERYTHING) -> SuperPoint:
    """A network whose random weights let the photo through, so that scores spread over two orders of magnitude."""
    torch.manual_seed(7)
    extractor = SuperPoint(config).eval().requires_grad_(False)
    for parameter in extractor.parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter)
        else:
            torch.nn.init.normal_(parameter, std=0.05)
    return extractor


def reference(extractor: SuperPoint):
    """transformers' network with the weights and options of ``extractor``."""
    transformers = transformers_or_skip("superpoint")
    config = transformers.SuperPointConfig(
        keypoint_threshold=extractor.config.detection_threshold,
        max_keypoints=-1,
        nms_radius=extractor.config.nms_radius,
        border_removal_distance=extractor.config.border,
    )
    network = transformers.SuperPointForKeypointDetection(config).eval()
    state = {}
    for name, tensor in extractor.state_dict().items():
        layer, _, part = name.rpartition(".")
        state[f"{TRANSFORMERS_NAMES[layer]}.{part}"] = tensor
    network.load_state_dict(state, strict=True)
    return network


@pytest.fixture(scope="module")
def photo(astronaut) -> torch.Tensor:
    """A crop whose sides are no multiples of 8, neither of them."""
    return load_image(astronaut)[:, 40:243, 100:351]


@pytest.fixture(scope="module")
def everything() -> SuperPoint:
    return lively()


def run_reference(extractor: SuperPoint, gray: torch.Tensor):
    """(keypoints in pixels, scores, descriptors) of one image, best first.

    transformers divides keypoints by the image's size, and forgets the border on the right and at the bottom: its
    points there are left out here.
    """
    with torch.no_grad():
        found = reference(extractor)(gray.expand(3, -1, -1)[None])
    points = (found.keypoints[0] * torch.tensor([gray.shape[2], gray.shape[1]])).round()
    end = torch.tensor([gray.shape[2] // 8 * 8, gray.shape[1] // 8 * 8]) - extractor.config.border
    kept = found.mask[0].bool() & (points < end).all(dim=1)
    scores, order = found.scores[0][kept].sort(descending=True)
    return points[kept][order], scores, found.descriptors[0][kept][order]


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        SELECTIVE,
        dataclasses.replace(SELECTIVE, nms_radius=3, border=9),
        dataclasses.replace(SELECTIVE, nms_radius=2, detection_threshold=0.005),
    ],
    ids=["selective", "wide border", "dense"],
)
def test_points_equal_those_of_transformers(photo, config):
    extractor = lively(config)
    gray = to_gray(photo)
    points, scores, descriptors = run_reference(extractor, gray)
    ours = extractor.extract(gray)
    rows = {tuple(point): row for row, point in enumerate(ours.keypoints.tolist())}
    assert len(points) > 150
    assert set(rows) == {tuple(point) for point in points.tolist()}
    order = [rows[tuple(point)] for point in points.tolist()]
    torch.testing.assert_close(ours.scores[order], scores, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(ours.descriptors[order], descriptors, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_the_best_equal_those_of_transformers(motorcycle):
    extractor = lively(dataclasses.replace(SELECTIVE, max_keypoints=150))
    gray = to_gray(load_image(motorcycle[0]))[:, 100:420, 200:601]
    points, scores, descriptors = run_reference(extractor, gray)
    ours = extractor.extract(gray)
    assert len(points) > 300
    assert len(ours) == 150
    assert torch.equal(ours.keypoints, points[:150])
    torch.testing.assert_close(ours.scores, scores[:150], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(ours.descriptors, descriptors[:150], atol=1e-5, rtol=0)


def test_points_keep_clear_of_the_border_and_of_what_no_whole_cell_covers(everything, photo):
    x, y = everything.extract(photo).keypoints.unbind(dim=1)
    # 251 × 203 pixels hold 31 × 25 cells: 248 × 200 pixels.
    assert 4 <= x.min() < 20
    assert 228 < x.max() <= 243
    assert 4 <= y.min() < 20
    assert 180 < y.max() <= 195


def test_the_best_points_come_first(everything, photo):
    all_points = everything.extract(photo)
    few = lively(dataclasses.replace(EVERYTHING, max_keypoints=50)).extract(photo)
    assert (all_points.scores.diff() <= 0).all()
    assert torch.equal(few.keypoints, all_points.keypoints[:50])
    torch.testing.assert_close(few.descriptors, all_points.descriptors[:50], atol=1e-6, rtol=0)


def test_masks_apply_before_the_best_are_chosen(everything, photo):
    mask = np.zeros(photo.shape[1:], dtype=bool)
    mask[100:, :90] = True
    all_points = everything.extract(photo)
    inside = (all_points.keypoints[:, 0] < 90) & (all_points.keypoints[:, 1] >= 100)
    masked = lively(dataclasses.replace(EVERYTHING, max_keypoints=30)).extract(photo, mask)
    assert len(masked) == 30
    assert torch.equal(masked.keypoints, all_points[inside].keypoints[:30])
    x, y = masked.keypoints[17].long().tolist()
    pixel = np.zeros(photo.shape[1:], dtype=bool)
    pixel[y, x] = True
    assert everything.extract(photo, pixel).keypoints.tolist() == [[x, y]]


@pytest.mark.slow
def test_a_batch_equals_one_by_one(photo):
    extractor = lively(dataclasses.replace(EVERYTHING, max_keypoints=100))
    images = [photo, photo.flip(2), 0.5 * photo]
    mask = torch.zeros(photo.shape[1:], dtype=torch.bool)
    mask[:, 60:] = True
    masks = [None, mask, None]
    together = extractor.extract_many(images, masks)
    for image, mask_of_one, batched in zip(images, masks, together, strict=True):
        alone = extractor.extract(image, mask_of_one)
        assert torch.equal(batched.keypoints, alone.keypoints)
        torch.testing.assert_close(batched.scores, alone.scores, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(batched.descriptors, alone.descriptors, atol=1e-5, rtol=0)
    assert not torch.equal(together[0].keypoints, together[1].keypoints)


def test_colour_is_seen_as_gray(everything, photo):
    colour, gray = everything.extract(photo), everything.extract(to_gray(photo))
    assert len(colour) > 200
    assert torch.equal(colour.keypoints, gray.keypoints)
    assert torch.equal(colour.descriptors, gray.descriptors)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 90)])
@pytest.mark.parametrize("resize", [None, 256])
def test_a_blank_image_has_no_points(colour, resize):
    features = lively(SuperPointConfig(resize=resize)).extract(np.full((150, 201, 3), colour, dtype=np.uint8))
    assert len(features) == 0
    assert features.descriptors.shape == (0, 256)
    assert features.image_size == (201, 150)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 3000), (3000, 5), (8, 8), (7, 40), (9, 14), (30, 30)])
@pytest.mark.parametrize("resize", [None, 256])
def test_tiny_and_extreme_images_work(height, width, resize):
    image = torch.rand(3, height, width)
    features = lively(SuperPointConfig(resize=resize)).extract(image)
    x, y = features.keypoints.unbind(dim=1)
    assert features.image_size == (width, height)
    assert features.descriptors.shape[1] == 256
    assert ((x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)).all()
    if min(height, width) < 8 and resize is None:
        assert len(features) == 0
    if height == 30:
        assert len(features) > 0


def test_features_are_what_the_contract_says(everything, photo):
    features = everything.extract(photo)
    assert features.kind == "superpoint"
    assert features.image_size == (251, 203)
    assert features.keypoints.dtype == torch.float32
    assert torch.equal(features.keypoints, features.keypoints.round())
    assert ((features.scores > 0.0005) & (features.scores <= 1)).all()
    torch.testing.assert_close(features.descriptors.norm(dim=1), torch.ones(len(features)))
    assert (features.scales, features.orientations) == (None, None)


def test_the_channels_stay_last():
    extractor = SuperPoint()
    extractor.load_state_dict({name: tensor.contiguous() for name, tensor in lively().state_dict().items()})
    assert extractor.conv2a.weight.is_contiguous(memory_format=torch.channels_last)


def test_describing_detected_points_gives_their_descriptors(photo):
    extractor = lively(dataclasses.replace(EVERYTHING, resize=300))
    detected = extractor.extract(photo)
    described = extractor.describe(photo, detected.keypoints)
    assert len(detected) > 200
    torch.testing.assert_close(described.descriptors, detected.descriptors, atol=1e-4, rtol=0)
    assert (described.kind, described.image_size) == ("superpoint", (251, 203))


def test_describing_samples_the_map_as_the_released_code_does(everything, photo):
    # 31 × 25 cells; points up to the very corners, even beyond the last whole cell.
    points = torch.rand(300, 2) * torch.tensor([250.0, 202.0])
    points[:2] = torch.tensor([[0.0, 0.0], [250.0, 202.0]])
    dense = everything._descriptor_map(everything._encode(photo))
    torch.testing.assert_close(dense.norm(dim=0), torch.ones(25, 31))
    grid = (points - 8 / 2 + 0.5) / torch.tensor([31 * 8 - 8 / 2 - 0.5, 25 * 8 - 8 / 2 - 0.5]) * 2 - 1
    sampled = functional.grid_sample(dense[None], grid[None, None], align_corners=True)[0, :, 0].T
    wanted = functional.normalize(sampled, dim=1)
    torch.testing.assert_close(everything.describe_in(photo, points), wanted, atol=1e-4, rtol=0)


def test_describing_needs_a_whole_cell(everything):
    with pytest.raises(ShapeError, match=r"40 × 7 pixels .* at least 8 × 8"):
        everything.describe(torch.rand(1, 7, 40), torch.tensor([[3.0, 3.0]]))


def test_a_negative_border_is_refused():
    with pytest.raises(ConfigError, match="border is -1"):
        SuperPointConfig(border=-1)


def test_the_constructor_reads_no_file(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a constructor must not look for weights")

    monkeypatch.setattr("photoglue.extractors.base.resolve", refuse)
    extractor = SuperPoint()
    assert extractor.config == SuperPointConfig(
        max_keypoints=2048, resize=1024, detection_threshold=0.0005, nms_radius=4, border=4
    )
    assert len(extractor.state_dict()) == 24
    # The released file is four bytes a number, and a few thousand for the names.
    numbers = sum(parameter.numel() for parameter in extractor.parameters())
    assert 0 < WEIGHTS["superpoint"].size - 4 * numbers < 5000


def test_the_licence_has_to_be_accepted(monkeypatch, tmp_path):
    for options in ({}, {"path": tmp_path / "superpoint_v1.pth"}):
        with pytest.raises(LicenceError, match=r"non-commercial.*allow_noncommercial=True"):
            SuperPoint.pretrained(**options)
    assert not WEIGHTS["superpoint"].commercial


def save_as_record(monkeypatch, path, state) -> None:
    """Make ``path`` a file that holds ``state`` and that passes for the released one."""
    torch.save(state, path)
    record = dataclasses.replace(WEIGHTS["superpoint"], sha256=weights.sha256_of(path), size=path.stat().st_size)
    monkeypatch.setattr(SuperPoint, "records", {"superpoint": record})


@pytest.mark.slow
def test_loading_restores_the_network(monkeypatch, tmp_path, photo):
    saved = lively()
    save_as_record(monkeypatch, tmp_path / "superpoint.pth", saved.state_dict())
    loaded = SuperPoint.pretrained(EVERYTHING, path=tmp_path / "superpoint.pth", allow_noncommercial=True)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert torch.equal(loaded.extract(photo).descriptors, saved.extract(photo).descriptors)


def test_a_missing_tensor_is_named(monkeypatch, tmp_path):
    state = SuperPoint().state_dict()
    del state["convDa.bias"]
    save_as_record(monkeypatch, tmp_path / "superpoint.pth", state)
    with pytest.raises(WeightsError, match=r"1 missing: convDa\.bias"):
        SuperPoint.pretrained(path=tmp_path / "superpoint.pth", allow_noncommercial=True)
