from photoglue.datasets.base import DataSet, EvaluationPair
from photoglue.datasets.truths import Apart


def test_pairs_are_taken_evenly(tmp_path):
    pairs = tuple(EvaluationPair(scene="s", name0="0", name1=str(i), truth=Apart()) for i in range(7))
    dataset = DataSet(name="d", benchmark="overlap", folder=tmp_path, pairs=pairs, sizes={}, image_set="7 pairs")
    few = dataset.evenly(3)
    assert [pair.name1 for pair in few.pairs] == ["0", "2", "4"]
    assert few.image_set == "3 of 7 pairs"
    assert dataset.evenly(7) is dataset.evenly(9) is dataset
