"""The forms of extractors in torch, and OpenCV and OpenVINO themselves."""

import numpy as np
import pytest
import torch
from exported_files import untyped
from jaxtyping import Float
from torch import Tensor, nn

from photoglue.errors import ConfigError
from photoglue.export.convert import to_onnx
from photoglue.export.extractor_flavours import EXTRACTOR_FLAVOURS, extractor_flavour
from photoglue.export.lint import lint_graph


class Corners(nn.Module):
    """Four points that are known, the last of which is none."""

    def forward(self, image: Float[Tensor, "1 3 h w"]):
        """Keypoints, scores and descriptors."""
        points = torch.tensor([[[0.0, 0.0], [9.0, 19.0], [4.0, 7.0], [1.0, 1.0]]])
        return points, torch.tensor([[0.9, 0.8, 0.3, 0.0]]), torch.eye(4)[None]


IMAGE = torch.rand(1, 3, 20, 10)
FAMILIES = [(name, family or "disk") for name, family in EXTRACTOR_FLAVOURS]


@pytest.mark.parametrize(("name", "kind"), FAMILIES)
def test_points_come_back_in_pixels(name, kind):
    flavour = extractor_flavour(name, f"{kind}-x")
    given = {key: torch.from_numpy(np.asarray(array)) for key, array in flavour.inputs(IMAGE.numpy()).items()}
    outputs = flavour.form(Corners())(*given.values())
    found = flavour.general({key: each.numpy() for key, each in zip(flavour.outputs, outputs, strict=True)}, (10, 20))
    expected = Corners()(IMAGE)
    assert np.allclose(found["keypoints"][:3], expected[0][0, :3].numpy(), atol=1e-5)
    assert np.allclose(found["scores"][:3], [0.9, 0.8, 0.3]) and (found["scores"][3:] == 0).all()
    assert (found["descriptors"][:3] == np.eye(4)[:3]).all()


@pytest.mark.parametrize(("most", "lowest", "count"), [(2, 0.0, 2), (9, 0.5, 2), (9, 0.0, 3), (0, 0.0, 0)])
def test_colmaps_limits(most, lowest, count):
    form = extractor_flavour("colmap", "aliked-n16rot").form(Corners())
    points, descriptors, scores = form(IMAGE, torch.tensor(most), torch.tensor(lowest))
    assert points.shape == (1, count, 2) and descriptors.shape == (1, count, 4) and scores.shape == (1, count)


def test_opencv_wants_whole_pixels_of_disk():
    points, _, _ = extractor_flavour("opencv", "disk").form(Corners())(IMAGE)
    assert points.dtype == torch.int64


@pytest.mark.parametrize(("name", "kind"), [("colmap", "disk"), ("opencv", "superpoint"), ("caffe", "aliked-n16")])
def test_what_there_is_not(name, kind):
    with pytest.raises(ConfigError, match=f"no flavour '{name}' of an extractor of {kind}"):
        extractor_flavour(name, kind)


@pytest.mark.rare
def test_colmaps_table():
    """Names, order and ranks that COLMAP's aliked.cc checks; the length of a descriptor is a number."""
    flavour = extractor_flavour("colmap", "aliked-n16rot")
    with untyped():
        axes = {"image": {2: "height", 3: "width"}}
        graph = to_onnx(flavour.form(Corners()), {"image": IMAGE, **flavour.extra}, flavour.outputs, axes)
    assert lint_graph(graph, "colmap") == []
    assert graph.graph.output[1].type.tensor_type.shape.dim[2].dim_value == 4


@pytest.mark.rare
@pytest.mark.weights
def test_opencvs_own_disk_finds_the_same(tmp_path, astronaut):
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    if not hasattr(cv2, "DISK"):
        pytest.skip(f"OpenCV {cv2.__version__} has no DISK")
    from photoglue import create_extractor
    from photoglue.export.networks import plain_extractor

    extractor = create_extractor("disk", max_keypoints=100, precision="float32")
    module = plain_extractor(extractor, 100, native=False)
    flavour = extractor_flavour("opencv", "disk")
    with untyped():
        axes = {"image": {2: "height", 3: "width"}}
        graph = to_onnx(flavour.form(module), {"image": torch.rand(1, 3, 96, 128)}, flavour.outputs, axes)
    path = tmp_path / "disk.onnx"
    path.write_bytes(graph.SerializeToString())
    picture = cv2.resize(cv2.imread(str(astronaut)), (160, 128))
    keypoints, descriptors = cv2.DISK.create(str(path), 100, 0.0, (160, 128)).detectAndCompute(picture, None)
    rgb = torch.from_numpy(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)).permute(2, 0, 1).float() / 255
    expected = extractor.detect(rgb[None])[0]
    found = {tuple(map(round, each.pt)): row for each, row in zip(keypoints, descriptors, strict=True)}
    wanted = [tuple(map(round, point)) for point in expected.keypoints.tolist()]
    assert len(set(found) & set(wanted)) >= 0.98 * len(wanted) > 40
    for point, described in zip(wanted, expected.descriptors.numpy(), strict=True):
        assert point not in found or found[point] @ described > 0.999
