import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from exported_files import recertified, small_lightglue

from photoglue import LightGlue
from photoglue.errors import FeatureKindError, ShapeError, WeightsError
from photoglue.export.cases import made_up, plain_reference
from photoglue.exported import OnnxFile
from photoglue.matchers.onnx import NAMES, OnnxMatcher, graph_inputs

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("sizes", [(30, 40), (1, 1), (0, 3), (4, 0), (0, 0)])
def test_matches_as_pytorch(matcher_file, sizes):
    model = small_lightglue(n_layers=2)
    pair = made_up(model, *sizes)
    expected, found = plain_reference(model).match(*pair), LightGlue.from_onnx(matcher_file).match(*pair)
    for field in NAMES.values():
        assert torch.allclose(getattr(found, field), getattr(expected, field), atol=5e-5, rtol=0), field
    assert found.precision == "onnx-float32" and found.stop == 2
    assert sizes != (30, 40) or len(found) > 3


def test_padded_batch_is_one_by_one_bit_for_bit(matcher_file):
    model, file = small_lightglue(n_layers=2), OnnxFile(matcher_file, threads=1)
    pairs = [made_up(model, 30, 18, seed=1), made_up(model, 9, 40, seed=2)]
    random = np.random.default_rng(0)
    singles = [graph_inputs(a, 0) | graph_inputs(b, 1) for a, b in pairs]
    lengths = [{"0": len(a), "1": len(b)} for a, b in pairs]
    batch = {}
    for name in singles[0]:
        rows = []
        for single, length in zip(singles, lengths, strict=True):
            array = single[name][0]
            if not name.startswith("image_size"):
                missing = max(each[name[-1]] for each in lengths) - length[name[-1]]
                # Noise, but True in no mask.
                noise = 1e3 * random.standard_normal((missing, *array.shape[1:])) * (array.dtype != bool)
                array = np.concatenate([array, noise.astype(array.dtype)])
            rows.append(array)
        batch[name] = np.stack(rows)
    together = file.run(**batch)
    for i, (single, length) in enumerate(zip(singles, lengths, strict=True)):
        for name, alone in file.run(**single).items():
            count = length[name[-1]]
            assert (together[name][i, :count] == alone[0]).all(), name
            assert (together[name][i, count:] == (-1 if "matches" in name else 0)).all()


def test_wrong_input_is_refused(matcher_file):
    matcher = OnnxMatcher.from_file(matcher_file)
    first, second = made_up(small_lightglue(), 3, 4)
    with pytest.raises(FeatureKindError, match="disk"):
        matcher.match(replace(first, kind="disk"), second)
    with pytest.raises(ShapeError):
        matcher.match(replace(first, scales=None), second)


def test_other_files_are_refused(matcher_file, extractor_file, tmp_path):
    with pytest.raises(WeightsError, match="role 'extractor'; 'matcher' was wanted"):
        OnnxMatcher.from_file(extractor_file)
    path = recertified(matcher_file, tmp_path / "other.onnx", flavour="colmap")
    with pytest.raises(WeightsError, match="made for colmap; export it again with --flavour photoglue"):
        OnnxMatcher.from_file(path)


def test_goes_to_other_processes(matcher_file):
    matcher = OnnxMatcher.from_file(matcher_file, threads=1)
    again = pickle.loads(pickle.dumps(matcher))
    pair = made_up(small_lightglue(), 20, 20)
    assert (again.match(*pair).matches0 == matcher.match(*pair).matches0).all()
    assert again.graph_sha256 == matcher.graph_sha256
