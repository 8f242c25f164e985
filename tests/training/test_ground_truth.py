"""Labels against the rules written out in plain double-precision loops, and against what must hold for any pair."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError, ShapeError
from photoglue.geometry.camera import PinholeCamera
from photoglue.structs import Features
from photoglue.training.ground_truth import IGNORED, UNMATCHED, LabelRules, label
from photoglue.training.pairs.base import HomographyPair, PosedPair

CAMERA0 = PinholeCamera(fx=500.0, fy=520.0, cx=321.0, cy=239.0, image_size=(640, 480))
CAMERA1 = PinholeCamera(fx=610.0, fy=600.0, cx=390.0, cy=310.0, image_size=(800, 600))
HOMOGRAPHY = torch.tensor([[0.9, 0.12, 20.0], [-0.1, 1.1, 5.0], [1e-4, -5e-5, 1.0]], dtype=torch.float64)


def _features(points, size=(640, 480)):
    points = np.asarray(points, dtype=np.float32).reshape(-1, 2)
    return Features.from_arrays(points, np.zeros((len(points), 4)), size)


def _homography_pair(points0, points1, homography=HOMOGRAPHY):
    return HomographyPair(
        features0=_features(points0), features1=_features(points1), image1_from_image0=torch.as_tensor(homography)
    )


def _warped(homography, point):
    x, y, w = np.asarray(homography, dtype=np.float64) @ [*point, 1.0]
    return np.array([x / w, y / w])


def _random_homography_pair(seed):
    """Points of a plane in both images with errors up to some pixels, points of their own, and places used twice."""
    random = np.random.default_rng(seed)
    points0 = random.uniform(0, [640, 480], (70, 2))
    places = np.array([_warped(HOMOGRAPHY, point) for point in points0])
    points1 = np.concatenate([places[:50] + random.normal(0, 2.0, (50, 2)), random.uniform(0, [640, 480], (15, 2))])
    points0 = np.concatenate([points0, points0[:6], points0[6:10] + 1.0])
    points1 = np.concatenate([points1, points1[3:9]])
    random.shuffle(points1)
    return _homography_pair(points0, points1)


def _rotation(axis, degrees):
    axis = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    x, y, z = axis * math.radians(degrees)
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64))


def _pose(rotation, translation):
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3], pose[:3, 3] = rotation, torch.tensor(translation, dtype=torch.float64)
    return pose


POSE = _pose(_rotation([0.2, 1.0, 0.1], 12.0), [-0.9, 0.15, 0.2])


def _posed_pair(points0, depths0, points1, depths1, pose=POSE):
    return PosedPair(
        features0=_features(points0),
        features1=_features(points1, (800, 600)),
        depths0=torch.tensor(np.asarray(depths0), dtype=torch.float32),
        depths1=torch.tensor(np.asarray(depths1), dtype=torch.float32),
        camera0=CAMERA0,
        camera1=CAMERA1,
        cam1_from_cam0=pose,
    )


def _project(camera, xyz):
    return np.array([camera.fx * xyz[0] / xyz[2] + camera.cx, camera.fy * xyz[1] / xyz[2] + camera.cy])


def _random_posed_pair(seed):
    """Points of space in both images; a third without depth in either, some with a wrong one, some seen only once."""
    random = np.random.default_rng(seed)
    pixels = random.uniform(0, [640, 480], (90, 2))
    depths = random.uniform(2.0, 6.0, 90)
    rays = np.column_stack(
        [(pixels[:, 0] - CAMERA0.cx) / CAMERA0.fx, (pixels[:, 1] - CAMERA0.cy) / CAMERA0.fy, np.ones(90)]
    )
    space = (rays * depths[:, None]) @ POSE[:3, :3].numpy().T + POSE[:3, 3].numpy()
    places = np.array([_project(CAMERA1, xyz) for xyz in space])
    noise0, noise1 = random.normal(0, 1.5, (90, 2)), random.normal(0, 1.5, (90, 2))
    points0, depths0 = (pixels + noise0)[:75], depths[:75].copy()
    points1, depths1 = (places + noise1)[15:], space[15:, 2].copy()
    depths0[random.random(75) < 0.3], depths1[random.random(75) < 0.3] = np.nan, np.nan
    depths0[:6] = 0.15  # near enough to lie behind or far beside the other camera
    depths1[5:12] *= 1.5
    points0, depths0 = np.concatenate([points0, points0[20:30] + 0.5]), np.concatenate([depths0, depths0[20:30]])
    depths0[-4:] = [np.nan, np.nan, 9.0, 9.0]
    order = random.permutation(75)
    return _posed_pair(points0, depths0, points1[order], depths1[order])


def _swapped(pair):
    if isinstance(pair, HomographyPair):
        return replace(
            pair,
            features0=pair.features1,
            features1=pair.features0,
            image1_from_image0=torch.linalg.inv(pair.image1_from_image0),
        )
    return pair.swapped()


def _point_counts(matches):
    return [int((matches >= 0).sum()), int((matches == UNMATCHED).sum()), int((matches == IGNORED).sum())]


# --- the rules in loops ---------------------------------------------------------------------------------------------


def _distances(landed0, landed1, points0, points1):
    forth = np.array([[np.hypot(*(a - b)) for b in points1] for a in landed0]).reshape(len(points0), len(points1))
    back = np.array([[np.hypot(*(a - b)) for b in landed1] for a in points0]).reshape(len(points0), len(points1))
    return forth, back


def _loop_matches(forth, back, positive):
    """Mutual nearest by the larger distance, the first of equals."""
    m, n = forth.shape
    both = np.maximum(forth, back)
    matches0, matches1 = [IGNORED] * m, [IGNORED] * n
    for i in range(m):
        for j in range(n):
            first = both[i, j] < min(both[i, :j], default=math.inf) and both[i, j] < min(both[:i, j], default=math.inf)
            nearest = both[i, j] == both[i].min() and both[i, j] == both[:, j].min()
            if first and nearest and both[i, j] < positive:
                matches0[i], matches1[j] = j, i
    return matches0, matches1


def _loop_homography(pair, positive=3.0, negative=3.0):
    points0, points1 = pair.features0.keypoints.double().numpy(), pair.features1.keypoints.double().numpy()
    inverse = np.linalg.inv(pair.image1_from_image0.numpy())
    landed0 = [_warped(pair.image1_from_image0, point) for point in points0]
    landed1 = [_warped(inverse, point) for point in points1]
    forth, back = _distances(landed0, landed1, points0, points1)
    matches0, matches1 = _loop_matches(forth, back, positive)
    for i in range(len(points0)):
        matches0[i] = UNMATCHED if min(forth[i], default=math.inf) > negative else matches0[i]
    for j in range(len(points1)):
        matches1[j] = UNMATCHED if min(back[:, j], default=math.inf) > negative else matches1[j]
    return matches0, matches1


def _loop_landed(points, depths, camera, other, pose):
    landed = []
    for (x, y), depth in zip(points, depths, strict=True):
        xyz = np.array([(x - camera.cx) / camera.fx * depth, (y - camera.cy) / camera.fy * depth, depth])
        xyz = pose[:3, :3] @ xyz + pose[:3, 3]
        landed.append(_project(other, xyz) if xyz[2] > 0 else np.array([math.inf, math.inf]))
    return landed


def _loop_epipolar(pair, points0, points1):
    """Mean of the distances of each point to the line of the other, by the normal of the plane of both."""
    rotation, translation = pair.cam1_from_cam0[:3, :3].numpy(), pair.cam1_from_cam0[:3, 3].numpy()
    x, y, z = translation
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ rotation
    fundamental = np.linalg.inv(pair.camera1.matrix.numpy()).T @ essential @ np.linalg.inv(pair.camera0.matrix.numpy())
    distances = np.empty((len(points0), len(points1)))
    for i, a in enumerate(points0):
        for j, b in enumerate(points1):
            line1, line0 = fundamental @ [*a, 1.0], np.array([*b, 1.0]) @ fundamental
            residual = abs(np.dot(line1, [*b, 1.0]))
            distances[i, j] = (residual / np.hypot(*line1[:2]) + residual / np.hypot(*line0[:2])) / 2
    return distances


def _loop_side(matches, others, reach, hit, depths, rules):
    """One side's points without partner: ``reach`` its own distances, ``hit`` those of the other's points to it."""
    result = list(matches)
    for i, depth in enumerate(depths):
        if matches[i] != IGNORED:
            continue
        if not math.isnan(depth):
            twin = any(hit[i][j] < rules.positive_px for j, other in enumerate(others) if other >= 0)
            if min(reach[i], default=math.inf) > rules.depth_negative_px and not twin:
                result[i] = UNMATCHED
    return result


def _loop_posed(pair, rules):
    points0, points1 = pair.features0.keypoints.double().numpy(), pair.features1.keypoints.double().numpy()
    depths0, depths1 = pair.depths0.double().numpy(), pair.depths1.double().numpy()
    pose = pair.cam1_from_cam0.numpy()
    landed0 = _loop_landed(points0, depths0, pair.camera0, pair.camera1, pose)
    landed1 = _loop_landed(points1, depths1, pair.camera1, pair.camera0, np.linalg.inv(pose))
    forth, back = _distances(landed0, landed1, points0, points1)
    forth, back = np.nan_to_num(forth, nan=math.inf), np.nan_to_num(back, nan=math.inf)
    found0, found1 = _loop_matches(forth, back, rules.positive_px)
    epipolar = _loop_epipolar(pair, points0, points1)
    matches0 = _loop_side(found0, found1, forth, back, depths0, rules)
    matches1 = _loop_side(found1, found0, back.T, forth.T, depths1, rules)
    final0, final1 = list(matches0), list(matches1)
    if rules.epipolar_px is None:
        return final0, final1
    for mine, others, hit, depths, lines, final in (
        (matches0, matches1, back, depths0, epipolar, final0),
        (matches1, matches0, forth.T, depths1, epipolar.T, final1),
    ):
        for i, depth in enumerate(depths):
            if mine[i] == IGNORED and math.isnan(depth):
                on_a_line = any(lines[i][j] <= rules.epipolar_px for j, other in enumerate(others) if other == IGNORED)
                if not on_a_line and min(hit[i], default=math.inf) > rules.depth_negative_px:
                    final[i] = UNMATCHED
    return final0, final1


# --- tests ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("negative", [3.0, 6.0])
def test_homography_labels_are_those_of_the_loops(seed, negative):
    pair = _random_homography_pair(seed)
    labels = label(pair, LabelRules(homography_negative_px=negative))
    matches0, matches1 = _loop_homography(pair, negative=negative)
    assert labels.matches0.tolist() == matches0
    assert labels.matches1.tolist() == matches1
    assert min(_point_counts(labels.matches0) + _point_counts(labels.matches1)) > 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("epipolar", [5.0, None])
def test_posed_labels_are_those_of_the_loops(seed, epipolar):
    pair, rules = _random_posed_pair(seed), LabelRules(epipolar_px=epipolar)
    labels = label(pair, rules)
    matches0, matches1 = _loop_posed(pair, rules)
    assert labels.matches0.tolist() == matches0
    assert labels.matches1.tolist() == matches1
    assert min(_point_counts(labels.matches0) + _point_counts(labels.matches1)) > 0


def test_distortion_is_taken_off_first():
    pair = _random_posed_pair(3)
    bent = replace(
        pair,
        features0=replace(pair.features0, keypoints=pair.features0.keypoints * 0.7),
        features1=replace(pair.features1, keypoints=pair.features1.keypoints + 40),
        straight0=pair.features0.keypoints,
        straight1=pair.features1.keypoints,
    )
    assert torch.equal(label(bent).matches0, label(pair).matches0)
    assert not torch.equal(label(replace(bent, straight1=None)).matches0, label(pair).matches0)


@pytest.mark.parametrize("make", [_random_homography_pair, _random_posed_pair])
@pytest.mark.parametrize("seed", range(3))
def test_swapping_the_images_swaps_the_labels(make, seed):
    pair = make(seed)
    labels, swapped = label(pair), label(_swapped(pair))
    assert torch.equal(labels.matches0, swapped.matches1)
    assert torch.equal(labels.matches1, swapped.matches0)


@pytest.mark.parametrize("make", [_random_homography_pair, _random_posed_pair])
def test_the_two_sides_agree(make):
    labels = label(make(0))
    matched = torch.nonzero(labels.matches0 >= 0).flatten()
    assert torch.equal(labels.matches1[labels.matches0[matched]], matched)
    assert len(matched) == int((labels.matches1 >= 0).sum())


def test_points_at_one_place_match_once_and_the_others_are_ignored():
    """SIFT gives one point for each orientation; a twin called unmatched would contradict its brother."""
    place = _warped(HOMOGRAPHY, (100.0, 80.0))
    pair = _homography_pair([(100.0, 80.0)] * 3 + [(300.0, 300.0)], [place, place])
    labels = label(pair)
    assert labels.matches0.tolist() == [0, IGNORED, IGNORED, UNMATCHED]
    assert labels.matches1.tolist() == [0, IGNORED]
    assert label(_swapped(pair)).matches0.tolist() == [0, IGNORED]


def _seen_by_both(depth=3.0, pixel=(300.0, 200.0)):
    """A point of space: its place and depth in image 1."""
    ray = np.array([(pixel[0] - CAMERA0.cx) / CAMERA0.fx, (pixel[1] - CAMERA0.cy) / CAMERA0.fy, 1.0])
    xyz = POSE[:3, :3].numpy() @ (ray * depth) + POSE[:3, 3].numpy()
    return _project(CAMERA1, xyz), xyz[2]


@pytest.mark.parametrize("twins_depth", [3.0, 9.0, float("nan")])
def test_a_twin_beside_an_edge_or_hole_of_the_depth_is_ignored(twins_depth):
    """With another depth or none the official rules call the twin unmatched: it lands far away, or no ignored point is
    on its line."""
    place, depth = _seen_by_both()
    points0, depths0 = [(300.0, 200.0), (301.0, 200.5)], [3.0, twins_depth]
    pair = _posed_pair(points0, depths0, [place], [depth])
    assert label(pair).matches0.tolist() == [0, IGNORED]
    assert label(_swapped(pair)).matches1.tolist() == [0, IGNORED]


def test_a_point_that_lands_behind_the_camera_or_outside_has_no_partner():
    turned = _pose(_rotation([0, 1, 0], 180.0), [0.0, 0.0, 0.0])
    assert label(_posed_pair([(300, 200)], [3.0], [(390, 310)], [3.0], turned)).matches0.tolist() == [UNMATCHED]
    place, _ = _seen_by_both(2.0, (5.0, 240.0))
    assert place[0] < 0
    assert label(_posed_pair([(5, 240)], [2.0], [(400, 300)], [3.0])).matches0.tolist() == [UNMATCHED]


def test_a_point_hidden_in_the_other_image_is_ignored():
    """It lands on a point of another surface, nearer to that camera: neither a match nor surely none."""
    place, depth = _seen_by_both()
    labels = label(_posed_pair([(300, 200)], [3.0], [place], [0.5 * depth]))
    assert labels.matches0.tolist() == [IGNORED]


def test_without_depth_the_epipolar_line_decides():
    place, _ = _seen_by_both()
    nothing = float("nan")
    on_line = label(_posed_pair([(300, 200)], [nothing], [place], [nothing]))
    assert on_line.matches0.tolist() == on_line.matches1.tolist() == [IGNORED]
    off_line = _posed_pair([(300, 200)], [nothing], [place + np.array([0.0, 40.0])], [nothing])
    assert label(off_line).matches0.tolist() == label(off_line).matches1.tolist() == [UNMATCHED]
    assert label(off_line, LabelRules(epipolar_px=None)).matches0.tolist() == [IGNORED]


def test_a_pure_rotation_has_no_epipolar_lines_and_leaves_points_without_depth_ignored():
    nothing = float("nan")
    pair = _posed_pair([(300, 200)], [nothing], [(100, 500)], [nothing], _pose(_rotation([0, 1, 0], 5.0), [0, 0, 0]))
    assert label(pair).matches0.tolist() == [IGNORED]


@pytest.mark.parametrize("counts", [(0, 0), (0, 3), (3, 0), (1, 1)])
def test_no_points_and_one_point(counts):
    m, n = counts
    points = np.array([[10.0, 10.0], [200.0, 50.0], [400.0, 300.0]])
    for pair in (
        _homography_pair(points[:m], points[:n] + 100.0),
        _posed_pair(points[:m], [3.0] * m, points[:n] + 100.0, [3.0] * n),
        _posed_pair(points[:m], [float("nan")] * m, points[:n], [float("nan")] * n),
    ):
        labels = label(pair)
        assert (labels.matches0.shape, labels.matches1.shape) == ((m,), (n,))
        if 0 in counts:
            assert (labels.matches0 == UNMATCHED).all()
            assert (labels.matches1 == UNMATCHED).all()


def test_far_from_the_origin_a_tenth_of_a_pixel_still_counts():
    """In single precision |a|² + |b|² - 2ab is off by a pixel here."""
    points = np.array([[5990.0, 3990.0], [5500.0, 3900.0]])
    pair = _homography_pair(points, points + np.array([[2.9, 0.0], [3.1, 0.0]]), torch.eye(3, dtype=torch.float64))
    assert label(pair).matches0.tolist() == [0, UNMATCHED]


def test_rules_that_contradict_each_other_are_refused(as_a_user):
    with pytest.raises(ConfigError, match=r"depth_negative_px is 5 and positive_px 6: .* at least as large"):
        LabelRules(positive_px=6.0, homography_negative_px=6.0)
    with pytest.raises(ConfigError, match=r"positive_px is -1.0; it must be a positive number of pixels"):
        LabelRules(positive_px=-1.0)


def test_depths_must_fit_the_keypoints(as_a_user):
    pair = _posed_pair([(1, 2)], [3.0, 4.0], [(1, 2)], [3.0])
    with pytest.raises(ShapeError, match="Image 0 has 1 keypoints and 2 depths"):
        label(pair)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("make", [_random_homography_pair, _random_posed_pair])
def test_labels_on_cuda_are_those_of_the_cpu(make):
    pair = make(1)
    moved = replace(pair, features0=pair.features0.to("cuda"), features1=pair.features1.to("cuda"))
    labels = label(moved)
    assert labels.matches0.device.type == "cuda"
    assert torch.equal(labels.matches0.cpu(), label(pair).matches0)
    assert torch.equal(labels.matches1.cpu(), label(pair).matches1)
