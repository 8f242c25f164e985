"""The adapters of peers that take photos: random weights, and where points must come out."""

import numpy as np
import pytest
import torch
from peer_packages import transformers_or_skip

ORIGINAL = (256, 192)


@pytest.fixture
def images(astronaut):
    """Two photos at half the size that they are read at, as an evaluation hands them over: (features, gray tensor)."""
    import PIL.Image
    from peer_images import GrayImages

    from photoglue.extractors.base import ExtractorConfig
    from photoglue.image import load_image, to_gray

    photo = PIL.Image.open(astronaut).convert("RGB")
    found = []
    for left in (100, 130):
        half = load_image(photo.crop((left, 20, left + 256, 212)).resize((128, 96)))
        (features,) = GrayImages(ExtractorConfig(max_keypoints=None, resize=None)).extract_many([half])
        assert torch.equal(features.descriptors, to_gray(half)[0])
        found.append(type(features)(**{**vars(features), "image_size": ORIGINAL}))
    return found


def test_points_come_back_in_pixels_of_the_photos(images):
    """Image 1 has another size, and sides are made multiples of 32: whatever the finder saw, corners are corners."""
    from peer_images import ImageMatcher

    tall = type(images[1])(
        keypoints=torch.zeros(130, 2), descriptors=torch.rand(130, 70), scores=torch.ones(130), image_size=(70, 130)
    )
    seen = []

    def corners(image0, image1):
        seen.extend([tuple(image0.shape), tuple(image1.shape)])
        ends = [torch.tensor([[-0.5, -0.5], [w - 0.5, h - 0.5]]) for h, w in (image0.shape, image1.shape)]
        return ends[0], ends[1], torch.tensor([0.25, 1.0])

    for one_size, expected in ((True, (96, 128)), (False, (128, 64))):
        found = ImageMatcher(corners, one_size=one_size, multiple=32).match(images[0], tall)
        assert seen[-2:] == [(96, 128), expected]
        assert found.points0.tolist() == [[-0.5, -0.5], [255.5, 191.5]]
        assert found.points1.tolist() == [[-0.5, -0.5], [69.5, 129.5]]
        assert found.scores.tolist() == [0.25, 1.0]


@pytest.mark.rare
@pytest.mark.parametrize("name", ["superglue", "lightglue"])
def test_superpoint_matchers_of_transformers(images, name):
    """The points are SuperPoint's, and pairs and scores those of transformers' own post-processing."""
    transformers = transformers_or_skip("superpoint", "superglue", "lightglue")
    from peer_images import ImageMatcher, detector_finder

    detector = transformers.SuperPointConfig(max_keypoints=60)
    if name == "superglue":
        config = transformers.SuperGlueConfig(
            keypoint_detector_config=detector, gnn_layers_types=["self", "cross"], sinkhorn_iterations=5
        )
        model = transformers.SuperGlueForKeypointMatching(config).eval()
    else:
        config = transformers.LightGlueConfig(
            keypoint_detector_config=detector, num_hidden_layers=2, filter_threshold=0.0
        )
        model = transformers.LightGlueForKeypointMatching(config).eval()
    found = ImageMatcher(detector_finder(model)).match(*images)
    assert len(found) > 3
    assert ((found.scores > 0) & (found.scores <= 1)).all()

    pixels = torch.stack([features.descriptors for features in images])[:, None].expand(-1, 3, -1, -1)
    with torch.inference_mode():
        detected = model.keypoint_detector(pixels)
        output = model(pixels[None])
    for points, shares, mask in zip((found.points0, found.points1), detected.keypoints, detected.mask, strict=True):
        where = shares[mask > 0] * torch.tensor([128, 96])
        expected = {tuple(point) for point in (2 * where + 0.5).round(decimals=2).tolist()}
        assert {tuple(point) for point in points.round(decimals=2).tolist()} <= expected
    # For each point of image 0: at its row, the partner that the output names.
    keypoints = 2 * output.keypoints[0] * torch.tensor([128, 96]) + 0.5
    pairs = [(i, int(j)) for i, j in enumerate(output.matches[0, 0]) if j >= 0 and output.mask[0, 0, i]]
    np.testing.assert_allclose(found.points0, keypoints[0][[i for i, _ in pairs]], atol=1e-3)
    np.testing.assert_allclose(found.points1, keypoints[1][[j for _, j in pairs]], atol=1e-3)


@pytest.mark.rare
def test_no_points(images):
    transformers = transformers_or_skip("superpoint", "lightglue")
    from peer_images import ImageMatcher, detector_finder

    model = transformers.LightGlueForKeypointMatching(
        transformers.LightGlueConfig(
            keypoint_detector_config=transformers.SuperPointConfig(keypoint_threshold=2.0), num_hidden_layers=2
        )
    ).eval()
    assert len(ImageMatcher(detector_finder(model)).match(*images)) == 0


class Output:
    """Two matches of an image of 32 × 16 pixels, cells of 8: cell 1 of image 0 with 6 of image 1, and 3 with 2."""

    def __init__(self):
        self.matches = torch.full((1, 2, 8), -1)
        self.matching_scores = torch.zeros(1, 2, 8)
        self.keypoints = torch.full((1, 2, 8, 2), 9.0)
        for cell0, cell1, score in ((1, 6, 0.5), (3, 2, 0.75)):
            self.matches[0, 0, cell1], self.matches[0, 1, cell0] = cell0, cell1
            self.matching_scores[0, 0, cell1] = self.matching_scores[0, 1, cell0] = score
            self.keypoints[0, 0, cell1] = torch.tensor([8 * (cell0 % 4), 8 * (cell0 // 4)]) / torch.tensor([32, 16])
            self.keypoints[0, 1, cell0] = torch.tensor([8 * (cell1 % 4), 8 * (cell1 // 4)]) / torch.tensor([32, 16])


def test_dense_matches_are_paired_by_their_cells():
    """In the order of its own cells, each image would have them the other way round."""
    from peer_images import dense_finder

    points0, points1, scores = dense_finder(lambda pixels: Output())(torch.zeros(16, 32), torch.zeros(16, 32))
    assert points0.tolist() == [[8, 0], [24, 0]]
    assert points1.tolist() == [[16, 8], [16, 0]]
    assert scores.tolist() == [0.5, 0.75]


@pytest.mark.rare
def test_efficientloftr_of_transformers(images):
    """Its answer is laid out as the adapter reads it: cell by cell, a point near the cell that it stands for."""
    transformers = transformers_or_skip("efficientloftr")
    from peer_images import ImageMatcher, dense_finder

    config = transformers.EfficientLoFTRConfig(
        coarse_matching_threshold=0.0, coarse_matching_skip_softmax=True, coarse_matching_border_removal=0
    )
    model = transformers.EfficientLoFTRForKeypointMatching(config).eval()
    # Its rule for mutual neighbours, on scores without ties; random weights have many.
    scores = torch.rand(1, 2, 4, 2, 4)
    (to0, to1), _ = (rows[0] for rows in model._get_matches_from_scores(scores))
    table = scores.reshape(8, 8)
    mutual = {(i, int(j)) for i, j in enumerate(table.argmax(dim=1)) if table[:, j].argmax() == i}
    assert {(i, int(j)) for i, j in enumerate(to1) if j >= 0} == mutual
    assert {(int(i), j) for j, i in enumerate(to0) if i >= 0} == mutual

    found = ImageMatcher(dense_finder(model), multiple=32).match(*images)
    pixels = torch.stack([features.descriptors for features in images])[None, :, None].expand(-1, -1, 3, -1, -1)
    with torch.inference_mode():
        to0, to1 = model(pixels).matches[0]
    partners = to1[to1 >= 0]
    assert len(found) == len(partners) > 10
    for points, cells in ((found.points0, to0[partners]), (found.points1, partners)):
        corners = 16 * torch.stack([cells % 16, cells // 16], dim=1) + 0.5
        assert (points - corners).abs().max() <= 2 * 5  # fine steps of half a cell and one pixel


@pytest.mark.rare
def test_loftr_of_kornia(images):
    """Points of image 0 lie on the grid of its cells: 8 pixels of the half-size image, in LoFTR's own frame."""
    loftr = pytest.importorskip("kornia.feature.loftr.loftr", exc_type=ImportError)
    from peer_images import ImageMatcher, loftr_finder

    config = {**loftr.default_cfg, "match_coarse": {**loftr.default_cfg["match_coarse"], "thr": 0.0}}
    model = loftr.LoFTR(pretrained=None, config=config).eval()
    found = ImageMatcher(loftr_finder(model), one_size=False).match(*images)
    assert len(found) > 5
    cells = (found.points0 + 0.5) / 16  # the centre of the top-left pixel is at half a pixel there
    np.testing.assert_allclose(cells, cells.round(), atol=1e-4)
    off_grid = (found.points1 + 0.5) / 16
    assert (off_grid - off_grid.round()).abs().max() > 0.01  # refined


@pytest.mark.rare
@pytest.mark.parametrize("peer", ["transformers-lightglue", "kornia-loftr"])
def test_peers_are_found_in_the_caches_of_their_libraries(tmp_path, monkeypatch, images, peer):
    from peer_methods import PEERS, UnavailableError

    if peer == "kornia-loftr":
        loftr = pytest.importorskip("kornia.feature.loftr.loftr", exc_type=ImportError)
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        file = tmp_path / "checkpoints" / "loftr_outdoor.ckpt"
    else:
        transformers = transformers_or_skip("superpoint", "lightglue")
        import huggingface_hub.constants

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        file = tmp_path / "models--ETH-CVG--lightglue_superpoint"
    with pytest.raises(UnavailableError, match=f"no weights on this machine .looked for {file}"):
        PEERS[peer]()
    if peer == "kornia-loftr":
        file.parent.mkdir()
        torch.save({"state_dict": loftr.LoFTR(pretrained=None).state_dict()}, file)
    else:
        config = transformers.LightGlueConfig(num_hidden_layers=2)
        transformers.LightGlueForKeypointMatching(config).save_pretrained(file / "snapshots" / "1")
    method = PEERS[peer]()
    pipeline = method.build(protocol(), torch.device("cpu"), allow_noncommercial=False)
    found = pipeline.matcher.match(*images)
    assert (found.points0 < torch.tensor(ORIGINAL)).all()
    assert pipeline.extractor.kind == "gray-image"


def protocol():
    from photoglue.evaluation.protocols import protocol_named

    return protocol_named("photoglue", "relative_pose")
