import numpy as np
import pytest

from photoglue.datasets.images import Images, camera_of, image_named, lines_of, numbers_in, scene_of
from photoglue.errors import ConfigError, ImageError, PhotoGlueWarning


def test_size_is_that_of_the_upright_image(make, tmp_path):
    from photoglue.image import read_image

    images = Images(folder=tmp_path)
    for orientation, size in ((1, (40, 30)), (3, (40, 30)), (6, (30, 40)), (8, (30, 40))):
        path = make.image(tmp_path / f"{orientation}.jpg", (40, 30), exif=orientation)
        assert images.size(path.name, "list") == size == tuple(read_image(path).shape[:0:-1])
    assert images.sizes["6.jpg"] == (30, 40)


def test_missing_and_damaged_images(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    images = Images(folder=tmp_path)
    with pytest.raises(ImageError, match=r"no image '.*absent\.png', which 'pairs\.txt' names"):
        images.size("absent.png", "pairs.txt")
    with pytest.raises(ImageError, match=r"text\.png' is not an image"):
        images.size("text.png", "pairs.txt")


def test_image_named_takes_any_ending(make, tmp_path):
    assert image_named(tmp_path, "1") is None
    make.image(tmp_path / "1.PNG")
    assert image_named(tmp_path, "1") == tmp_path / "1.PNG"
    make.image(tmp_path / "1.ppm")
    assert image_named(tmp_path, "1") == tmp_path / "1.ppm"


class TestCamera:
    def test_good(self):
        camera = camera_of([[50.0, 0, 19], [0, 51.0, 14], [0, 0, 1]], (40, 30), "'a'", stated_size=(40, 30))
        assert (camera.fx, camera.fy, camera.cx, camera.cy, camera.image_size) == (50, 51, 19, 14, (40, 30))

    def test_of_another_size(self):
        with pytest.raises(ConfigError, match="'a' belongs to an image of 80 × 60 pixels, and the file has 40 × 30"):
            camera_of(np.diag([50.0, 50, 1]), (40, 30), "'a'", stated_size=(80, 60))

    def test_principal_point_outside(self):
        with pytest.raises(ConfigError, match=r"'a' has its principal point at \(45, 20\), outside .* 40 × 30"):
            camera_of([50.0, 0, 45, 0, 50, 20, 0, 0, 1], (40, 30), "'a'")

    @pytest.mark.parametrize("scale", [0.5, 2 / 3, 1.5])
    def test_principal_point_far_from_the_middle(self, scale):
        """The camera of the photo at another size; its principal point is 2 % off the middle."""
        x, y = scale * 408, scale * 306
        with pytest.warns(PhotoGlueWarning, match="far from the middle of its image of 800 × 600"):
            camera_of([500.0, 0, x, 0, 500, y, 0, 0, 1], (800, 600), "'a'")

    @pytest.mark.parametrize("matrix", [[1, 2], "text", np.eye(3) * np.nan, np.diag([-5.0, 5, 1]), np.ones((3, 3))])
    def test_no_camera(self, matrix):
        with pytest.raises(ConfigError, match="The camera of 'a' is not valid"):
            camera_of(matrix, (40, 30), "'a'")


def test_numbers_in(tmp_path):
    path = tmp_path / "H_1_2"
    path.write_text("1 2 3\n4 5 6\n7 8 9\n")
    assert numbers_in(path, 9).tolist() == list(range(1, 10))
    for text, said in (("1 2 x", "cannot be read as numbers"), ("1 2", "has 2 numbers; 9"), ("nan " * 9, "9 finite")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=said):
            numbers_in(path, 9)


def test_lines_of(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("# a comment\n\na.jpg b.jpg 0.5\n")
    assert lines_of(path) == [(3, ["a.jpg", "b.jpg", "0.5"])]


def test_scene_is_the_first_folder_that_differs():
    assert scene_of(["images/0015/images/a.jpg", "images/0022/images/a.jpg"], "x") == ["0015", "0022"]
    assert scene_of(["images/a.jpg", "images/b.jpg"], "x") == ["x", "x"]
    assert scene_of(["a.jpg"], "x") == ["x"]
