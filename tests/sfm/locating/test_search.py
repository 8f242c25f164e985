"""Links of keypoints with points, once each; and whether two poses are two places."""

import numpy as np
import pytest
import torch

from photoglue.sfm.locating.search import Links, apart
from photoglue.solvers.absolute_pose import AbsolutePose
from photoglue.solvers.colmap_files import CameraRecord
from photoglue.structs import Matches


def test_links():
    matches = Matches(
        matches0=torch.tensor([2, -1, 0]),
        matches1=torch.tensor([2, -1, 0]),
        matching_scores0=torch.ones(3),
        matching_scores1=torch.ones(3),
        keypoints0=torch.zeros(3, 2),
        keypoints1=torch.zeros(3, 2),
    )
    links = Links.none().and_of(matches, np.array([7, 8, -1]), 0)
    assert (links.keypoints.tolist(), links.points.tolist(), links.photos.tolist()) == ([2], [7], [0])
    more = links.and_of(matches, np.array([7, 8, 9]), 1)
    assert more.points.tolist() == [7, 9, 7]
    assert more.select(more.once()).photos.tolist() == [0, 1]


@pytest.mark.parametrize(("shift", "angle", "two"), [(0.4, 0, False), (0.6, 0, True), (0, 0.08, False), (0, 0.1, True)])
def test_two_places(shift, angle, two):
    camera = CameraRecord(camera_id=1, model="SIMPLE_PINHOLE", image_size=(2, 2), parameters=(1.0, 1.0, 1.0))
    poses = []
    for place, turn in ((0.0, 0.0), (shift, angle)):
        pose = torch.eye(4, dtype=torch.float64)
        pose[:2, :2] = torch.tensor([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        pose[2, 3] = place
        poses.append(AbsolutePose(cam_from_world=pose, camera=camera, inliers=np.ones(1, dtype=bool)))
    assert apart(*poses, 10.0) == two
