import pytest
import torch

pytestmark = [pytest.mark.weights, pytest.mark.usefixtures("not_enlarged")]


@pytest.mark.slow
def test_two_photos(motorcycle):
    import photoglue

    matches = photoglue.match_images(*motorcycle, max_keypoints=512)
    assert len(matches) > 200
    assert ((matches.points0 - matches.points1)[:, 1].abs() < 2).float().mean() > 0.9  # rectified: rows agree
    again = photoglue.match_images(*motorcycle, max_keypoints=512)
    assert torch.equal(again.matches0, matches.matches0)


class TestEverything:
    """What `photoglue match` can do, in one call."""

    @pytest.mark.slow
    def test_a_pair(self, motorcycle, tmp_path):
        import photoglue

        options = {"max_keypoints": 256, "precision": "float32", "config": photoglue.LightGlueConfig.accurate()}
        result = photoglue.match_pair(*motorcycle, verify="fundamental", **options)
        alone = photoglue.match_images(*motorcycle, **options)
        assert torch.equal(result.matches.matches0, alone.matches0)
        assert torch.equal(result.matches.matching_scores0, alone.matching_scores0)
        assert (result.matches.stop, result.matches.precision) == (9, "float32")
        assert result.overlap_probability > 0.999
        assert (result.features0.kind, len(result.features1)) == ("aliked-n16", 256)
        assert result.paths == tuple(map(str, motorcycle))
        assert result.seconds.keys() == {"read", "extract", "match", "verify"}
        checked = photoglue.verify(result.matches.points0, result.matches.points1, "fundamental")
        assert torch.equal(checked.inliers, result.inliers)  # the photos are 741 pixels wide: nothing to scale
        kept = photoglue.match_images(*motorcycle, verify="fundamental", **options)
        assert torch.equal(kept.points1, result.matches.points1[result.inliers])
        assert 0 < len(kept) < len(alone)

    @pytest.mark.slow
    def test_other_features_are_a_text_or_a_list(self, motorcycle):
        import photoglue

        alone = photoglue.match_images(*motorcycle, max_keypoints=64)
        listed, named = (
            photoglue.match_images(*motorcycle, max_keypoints=64, also=also) for also in (["disk"], "disk")
        )
        assert torch.equal(listed.indices, named.indices) and len(listed) > len(alone)

    @pytest.mark.slow
    def test_refined(self, motorcycle):
        """Photos of a stereo rig: partners lie in one row."""
        import photoglue
        from photoglue.limits import Subpixel

        options = {"features": "sift", "matcher": photoglue.NearestNeighbor(0.8), "max_keypoints": 400, "resize": 512}
        plain = photoglue.match_pair(*motorcycle, **options)
        refined = photoglue.match_pair(*motorcycle, refine="subpixel", **options)
        assert (plain.matches.refine, refined.matches.refine) == (None, "subpixel")
        assert "refine" in refined.seconds
        assert torch.equal(refined.matches.indices, plain.matches.indices)
        assert torch.equal(refined.features1.keypoints, plain.features1.keypoints)
        rows = [(each.matches.points1 - each.matches.points0)[:, 1].abs().median() for each in (plain, refined)]
        assert rows[1] < 0.7 * rows[0]
        again = photoglue.match_images(*motorcycle, refine=Subpixel(), **options)
        assert torch.equal(again.points1, refined.matches.points1)

    @pytest.mark.slow
    @pytest.mark.parametrize("resize", [320, None])
    def test_the_threshold_scales(self, motorcycle, resize):
        from photoglue import NearestNeighbor, match_pair

        options = {"features": "aliked-t16", "matcher": NearestNeighbor(), "max_keypoints": 100, "resize": resize}
        result = match_pair(*motorcycle, verify="homography", **options)
        assert result.verification.threshold_px == pytest.approx(3 * (741 / 320 if resize else 1))
        assert result.overlap_probability is None
        assert result.matches.stop is None
        own = match_pair(*motorcycle, verify="homography", threshold_px=2.5, **options)
        assert own.verification.threshold_px == 2.5

    @pytest.mark.slow
    def test_cameras(self, motorcycle):
        from photoglue import PinholeCamera, match_pair

        text = "994,994,311,254"
        camera = PinholeCamera.parse(text, (741, 500))
        pair = {"image0": motorcycle[0], "image1": motorcycle[1], "verify": "essential", "max_keypoints": 200}
        one, two = match_pair(camera0=text, **pair), match_pair(camera0=camera, camera1=camera, **pair)
        assert torch.equal(one.verification.rotation, two.verification.rotation)
        other = match_pair(camera0=text, camera1="700,700,311,254", **pair)
        assert not torch.equal(one.verification.rotation, other.verification.rotation)

    @pytest.mark.slow
    def test_masks(self, motorcycle):
        import numpy as np

        from photoglue import match_images

        mask = np.zeros((500, 741), bool)
        mask[:200] = True
        found = match_images(*motorcycle, max_keypoints=100, mask1=mask)
        assert found.keypoints1[:, 1].max() < 201 < found.keypoints0[:, 1].max()

    @pytest.mark.slow
    def test_weights_of_ones_own_are_read_again_when_they_change(self, motorcycle, tmp_path):
        import os

        from photoglue import LightGlue, match_images

        path = tmp_path / "own.safetensors"
        model = LightGlue.pretrained("aliked")
        counts = []
        for i in range(2):
            model.save(path)
            os.utime(path, ns=(i, i))
            counts.append(len(match_images(*motorcycle, max_keypoints=100, weights=str(path))))
            with torch.no_grad():
                for parameter in model.log_assignment.parameters():
                    parameter.zero_()
        assert counts[0] > 20 > counts[1]

    def test_no_cameras(self, motorcycle):
        from photoglue import match_pair
        from photoglue.errors import ConfigError

        with pytest.raises(ConfigError, match='verify="essential" needs the cameras'):
            match_pair("absent.jpg", "absent.jpg", verify="essential")
