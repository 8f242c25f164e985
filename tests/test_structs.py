import numpy as np
import pytest
import torch


def features(n=3, d=4, **changes):
    from photoglue.structs import Features

    fields = {
        "keypoints": torch.arange(2 * n).float().reshape(n, 2),
        "descriptors": torch.rand(n, d),
        "scores": torch.rand(n),
        "image_size": (30, 20),
    }
    return Features(**{**fields, **changes})


def matches():
    from photoglue.structs import Matches

    return Matches(
        matches0=torch.tensor([2, -1, 0]),
        matches1=torch.tensor([2, -1, 0, -1]),
        matching_scores0=torch.tensor([0.5, 0.05, 0.75]),
        matching_scores1=torch.tensor([0.75, 0.05, 0.5, 0.0]),
        keypoints0=torch.tensor([[0.0, 0], [1, 1], [2, 2]]),
        keypoints1=torch.tensor([[10.0, 0], [11, 1], [12, 2], [13, 3]]),
    )


class TestFeatures:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"keypoints": torch.zeros(1, 3, 2)}, "There is no batch axis"),
            ({"keypoints": torch.zeros(3, 3)}, r"keypoints has shape \(3, 3\); it must be any × 2"),
            ({"descriptors": torch.zeros(4, 4)}, r"descriptors has shape \(4, 4\); it must be 3 × any"),
            ({"scores": torch.zeros(3).long()}, r"scores is torch\.int64; it must be a floating type"),
            ({"keypoints": torch.zeros(3, 2).half()}, "must be torch.float32"),
            ({"image_size": (0, 5)}, "width, height"),
            ({"scales": torch.zeros(2)}, "scales has shape"),
            ({"keypoints": np.zeros((3, 2))}, r"keypoints is a ndarray; .*from_arrays"),
            ({"image_size": (480, 640, 3)}, r"image_size is \(480, 640, 3\); it must be \(width, height\)"),
            ({"image_size": None}, "image_size is None"),
            ({"scales": torch.zeros(3, device="meta")}, "on different devices: cpu, meta"),
        ],
    )
    def test_bad_fields(self, as_a_user, changes, message):
        from photoglue.errors import ShapeError

        with pytest.raises(ShapeError, match=message):
            features(**changes)

    def test_from_arrays(self):
        from photoglue.structs import Features

        made = Features.from_arrays([[1, 2], [3, 4]], np.ones((2, 8)), (64, 48), kind="mine", scales=[1, 2])
        assert made.keypoints.dtype == made.descriptors.dtype == torch.float32
        assert made.scores.tolist() == [1, 1]
        assert made.scales.tolist() == [1, 2]
        assert len(Features.from_arrays([], np.ones((0, 8)), (64, 48))) == 0

    def test_from_arrays_of_nothing_and_of_an_image_shape(self, as_a_user):
        from photoglue.errors import ShapeError
        from photoglue.structs import Features

        with pytest.raises(ShapeError, match=r"descriptors is None; .* np\.zeros\(\(0, d\)\)"):
            Features.from_arrays([], None, (64, 48))
        with pytest.raises(ShapeError, match=r"of an array \(shape\[1\], shape\[0\]\)"):
            Features.from_arrays(np.zeros((2, 2)), np.ones((2, 8)), (48, 64, 3))

    def test_from_arrays_copies(self):
        """A buffer that is used again for the next frame must not change the features of the last one."""
        from photoglue.structs import Features

        points = np.zeros((2, 2), np.float32)
        made = Features.from_arrays(points, np.ones((2, 8), np.float32), (64, 48))
        points[:] = 7
        assert made.keypoints.tolist() == [[0, 0], [0, 0]]
        points.setflags(write=False)
        assert len(Features.from_arrays(points, np.ones((2, 8)), (64, 48))) == 2  # torch would warn of it

    def test_one_point(self, as_a_user):
        from photoglue.errors import ShapeError

        with pytest.raises(ShapeError, match=r"features\[1\] would be a point"):
            features()[1]
        with pytest.raises(ShapeError, match=r"features\[0\] would be a point"):
            list(features())

    def test_a_look_at_it_is_short(self):
        wanted = "<Features of kind 'x': 3 points with 4 channels, image of 30 × 20 pixels, on cpu>"
        assert repr(features(kind="x")) == wanted

    def test_bfloat16_to_numpy(self):
        assert features(descriptors=torch.ones(3, 4).bfloat16()).numpy()["descriptors"].dtype == np.float32

    def test_choosing_points(self):
        made = features(5, orientations=torch.rand(5))
        assert torch.equal(made[:2].keypoints, made.keypoints[:2])
        assert torch.equal(made[made.scores > 0.5].orientations, made.orientations[made.scores > 0.5])
        assert made[:0].descriptors.shape == (0, 4)

    def test_numpy_round_trip(self):
        from photoglue.structs import Features

        made = features(kind="x")
        arrays = made.numpy()
        assert isinstance(arrays["descriptors"], np.ndarray)
        assert "scales" not in arrays
        again = Features.from_arrays(**arrays)
        assert torch.equal(again.keypoints, made.keypoints)
        assert again.kind == "x"

    def test_opencv(self):
        pytest.importorskip("cv2", exc_type=ImportError)
        made = features(scales=torch.tensor([1.0, 2, 3]), orientations=torch.tensor([0.0, 1.0, -1.0]))
        keypoints, descriptors = made.to_opencv()
        assert keypoints[1].pt == (2.0, 3.0)
        assert keypoints[2].size == 6
        assert keypoints[2].angle == pytest.approx(360 - np.rad2deg(1.0), abs=1e-3)
        assert descriptors.dtype == np.float32
        assert features().to_opencv()[0][0].angle == -1

    def test_hloc(self):
        made = features(3, 4)
        stored = made.to_hloc()
        assert stored["descriptors"].shape == (4, 3)
        assert stored["keypoints"].dtype == np.float32
        assert stored["image_size"].tolist() == [30, 20]


class TestMatches:
    def test_views(self):
        found = matches()
        assert len(found) == 2
        assert found.indices.tolist() == [[0, 2], [2, 0]]
        assert found.scores.tolist() == [0.5, 0.75]
        assert found.points0.tolist() == [[0, 0], [2, 2]]
        assert found.points1.tolist() == [[12, 2], [10, 0]]

    def test_a_look_at_it_is_short(self):
        from dataclasses import replace

        assert repr(matches()) == "<Matches: 2 of 3 and 4 points>"
        assert repr(replace(matches(), stop=4, n_layers=9)) == "<Matches: 2 of 3 and 4 points, 4 of 9 layers>"

    def test_opencv(self):
        pytest.importorskip("cv2", exc_type=ImportError)
        first, second = matches().to_opencv()
        assert (first.queryIdx, first.trainIdx, first.distance) == (0, 2, 0.5)
        assert (second.queryIdx, second.trainIdx) == (2, 0)

    def test_hloc(self):
        stored = matches().to_hloc()
        assert stored["matches0"].tolist() == [2, -1, 0]
        assert stored["matches0"].dtype == np.int32
        assert stored["matching_scores0"].dtype == np.float32

    def test_bad_fields(self, as_a_user):
        from dataclasses import replace

        from photoglue.errors import ShapeError

        with pytest.raises(ShapeError, match=r"keypoints0 has shape \(2, 2\); it must be 3 × 2"):
            replace(matches(), keypoints0=torch.zeros(2, 2))
        with pytest.raises(ShapeError, match=r"must be torch\.int64"):
            replace(matches(), matches0=torch.zeros(3))


class TestSelect:
    @pytest.mark.parametrize("kept", [[True, False], [False, True], [True, True], [False, False]])
    def test_both_sides_agree(self, kept):
        found = matches().select(torch.tensor(kept))
        assert found.indices.tolist() == [pair for pair, keep in zip([[0, 2], [2, 0]], kept, strict=True) if keep]
        assert found.scores.tolist() == [score for score, keep in zip([0.5, 0.75], kept, strict=True) if keep]
        for i, j in enumerate(found.matches1.tolist()):
            assert j == -1 or found.matches0[j] == i
        assert (found.matches1 >= 0).sum() == sum(kept)
        assert len(matches()) == 2  # unchanged

    def test_one_value_for_each_match(self, as_a_user):
        from photoglue.errors import ShapeError

        with pytest.raises(ShapeError, match=r"rows has shape \(3,\); there are 2 matches: give one for each"):
            matches().select(torch.ones(3, dtype=torch.bool))
