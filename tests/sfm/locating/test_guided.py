"""Keypoints that see points where a pose predicts them."""

import numpy as np
from mapped_scene import FOCAL, SIZE, Told
from placed_scene import TOOLS, true_pose

from photoglue.geometry.frames import StoredFrame
from photoglue.sfm.locating.cameras import Guess
from photoglue.sfm.locating.guided import _mutual, _near, guided_links
from photoglue.sfm.locating.known import KnownMap
from photoglue.sfm.locating.search import Links, Query, found_pose
from photoglue.solvers.colmap_files import CameraRecord


def test_near_is_what_brute_force_says():
    source = np.random.default_rng(0)
    predicted, keypoints = source.uniform(0, 100, (50, 2)), source.uniform(0, 100, (80, 2))
    predicted[3] = np.nan
    rows, columns = _near(predicted, keypoints, 7.0)
    with np.errstate(invalid="ignore"):
        wanted = np.linalg.norm(predicted[:, None] - keypoints[None], axis=2) <= 7.0
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == sorted(map(tuple, np.argwhere(wanted).tolist()))


def test_mutual():
    rows, columns = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 2])
    assert sorted(_mutual(rows, columns, np.array([0.9, 0.5, 0.8, 0.7])).tolist()) == [0]
    assert sorted(_mutual(rows, columns, np.array([0.9, 0.5, 0.3, 0.7])).tolist()) == [0, 3]


def test_a_pose_from_few_pairs_finds_the_others(placed):
    """Pairs of one photo give the pose; points that only others see are found by it."""
    with KnownMap(placed / "map") as known:
        features = Told().extract(placed / "queries" / "003.png")
        camera = CameraRecord(
            camera_id=1, model="SIMPLE_PINHOLE", image_size=SIZE, parameters=(FOCAL, SIZE[0] / 2, SIZE[1] / 2)
        )
        frame = StoredFrame(orientation=1, upright_size=SIZE)
        query = Query.of(features, frame, [Guess(camera=camera, source="given")], None)
        matches = TOOLS["matcher"].match(features, known.features("000.png"))
        links = Links.none().and_of(matches, known.photo("000.png").points, 0)
        found = found_pose(query, known, links)
        guided = guided_links(query, known, found, known.names)
        assert len(guided.links.points) > len(np.unique(links.points))
        assert 0.8 < guided.share <= 1
        wrong = type(found)(
            pose=type(found.pose)(cam_from_world=true_pose(5).roll(1, 0), camera=camera, inliers=found.pose.inliers),
            links=found.links,
            source="given",
        )
        assert guided_links(query, known, wrong, known.names).links.points.size < 12
