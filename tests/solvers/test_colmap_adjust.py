"""A few gross errors do not move the cameras."""

from types import ModuleType

import numpy as np
import pytest
from mapped_scene import Scene, position_error

from photoglue.sfm import reconstruct, write_database
from photoglue.solvers.colmap_adjust import adjust_robustly
from photoglue.solvers.colmap_mapping import MapperOptions

pytest.importorskip("h5py", exc_type=ImportError)
pytest.importorskip("poselib", exc_type=ImportError)
pytest.importorskip("pycolmap", exc_type=ImportError)


@pytest.mark.slow
def test_gross_errors_weigh_little(tmp_path):
    from photoglue.solvers.colmap import pycolmap

    scene = Scene(tmp_path, 0, 1, 2, 3, 4, focal="280")
    scene.verify()
    files = {"features": tmp_path / "f.h5", "matches": tmp_path / "m.h5", "verified": tmp_path / "v.h5"}
    write_database(tmp_path / "d.db", **files, cameras=scene.cameras, pairs=scene.pairs)
    options = MapperOptions(refine_focal_length=False, robust=False)
    (plain,) = reconstruct(tmp_path / "d.db", tmp_path / "photos", tmp_path, options=options)
    module = pycolmap()
    model = module.Reconstruction(str(plain.path))
    source = np.random.default_rng(0)
    for number in model.reg_image_ids():
        image = model.images[number]
        for index in source.choice(len(image.points2D), 12, replace=False):
            image.points2D[index].xy = image.points2D[index].xy + source.normal(scale=3, size=2)
    fixed = {"refine_focal_length": False, "refine_extra_params": False}

    def adjusted(scale):
        copy = module.Reconstruction(model)
        if scale:
            assert adjust_robustly(module, copy, fixed, 1)
        else:
            settings = module.BundleAdjustmentOptions()
            settings.refine_focal_length = settings.refine_extra_params = settings.print_summary = False
            config = module.BundleAdjustmentConfig()
            for number in copy.reg_image_ids():
                config.add_image(number)
            module.create_default_bundle_adjuster(settings, config, copy).solve()
        (tmp_path / "adjusted").mkdir(exist_ok=True)
        copy.write(str(tmp_path / "adjusted"))
        return position_error(tmp_path / "adjusted")

    assert adjusted(scale=True) < 0.01 < adjusted(scale=False)


def test_what_an_old_pycolmap_lacks_is_left_out():
    assert not adjust_robustly(ModuleType("pycolmap"), None, {}, 1)
