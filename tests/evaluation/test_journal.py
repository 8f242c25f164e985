import math

import numpy as np
import pytest

from photoglue.datasets.base import EvaluationPair
from photoglue.datasets.truths import Planar
from photoglue.errors import OutputError
from photoglue.evaluation.journal import Journal, digest_of_pairs

RUN = {"method": "m", "threshold": 1.0}


def test_what_was_written_is_there_again(tmp_path):
    path = tmp_path / "j.jsonl"
    values = [{"a": 0.1 + 0.2, "b": math.inf}, {"a": -1e-300, "b": math.nan}]
    with Journal(path, RUN) as journal:
        assert journal.done == {}
        journal.append(7, values)
        assert path.stat().st_size == sum(len(line) for line in path.read_bytes().splitlines(keepends=True))
    with Journal(path, RUN) as journal:
        assert journal.done.keys() == {7}
        assert journal.done[7][0] == values[0]
        assert math.isnan(journal.done[7][1]["b"])
        journal.append(3, values)
    with Journal(path, RUN) as journal:
        assert list(journal.done) == [7, 3]


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_line_that_was_cut_off_is_measured_again(tmp_path, cut):
    path = tmp_path / "j.jsonl"
    with Journal(path, RUN) as journal:
        journal.append(0, [{"value": 1.0}])
        journal.append(1, [{"value": 2.0}])
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path, RUN) as journal:
        assert journal.done == {0: [{"value": 1.0}]}
        journal.append(1, [{"value": 2.0}])
    with Journal(path, RUN) as journal:
        assert journal.done == {0: [{"value": 1.0}], 1: [{"value": 2.0}]}


@pytest.mark.parametrize(
    "line",
    [
        '{"values": [{"e": 0.0}]}',
        '{"pair": 0, "values": ["x"]}',
        '{"pair": "0", "values": [{"e": 0.0}]}',
        '{"pair": true, "values": [{"e": 0.0}]}',
        '{"pair": -1, "values": [{"e": 0.0}]}',
        '{"pair": 9, "values": [{"e": 0.0}]}',
        '{"pair": 1, "values": [{"e": "x"}]}',
        '{"pair": 1, "values": [{"e": null}]}',
        '{"pair": 1, "values": []}',
        '{"pair": 1, "values": {"e": 0.0}}',
        '{"pair": 1, "values": [{"e": 0.0}], "more": 1}',
        "[]",
        "3",
    ],
)
def test_a_bad_line_is_measured_again_with_all_that_follow(tmp_path, line):
    path = tmp_path / "j.jsonl"
    with Journal(path, RUN, pairs=9) as journal:
        journal.append(0, [{"e": math.inf}])
    good = path.read_text()
    path.write_text(f'{good}{line}\n{{"pair": 2, "values": [{{"e": 1.0}}]}}\n')
    with Journal(path, RUN, pairs=9) as journal:
        assert journal.done == {0: [{"e": math.inf}]}
    assert path.read_text() == good


def test_another_run_begins_anew(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path, RUN) as journal:
        journal.append(0, [{"value": 1.0}])
    with Journal(path, {**RUN, "threshold": 2.0}) as journal:
        assert journal.done == {}
    with Journal(path, RUN) as journal:
        assert journal.done == {}


def test_no_place_to_write(tmp_path):
    with pytest.raises(OutputError, match=r"j\.jsonl' cannot be written"):
        Journal(tmp_path / "absent" / "j.jsonl", RUN)


def test_pairs_are_told_apart_by_names_truths_and_order():
    def pair(name, value):
        return EvaluationPair(scene="s", name0="0", name1=name, truth=Planar(image1_from_image0=np.eye(3) * value))

    a, b = pair("1", 1.0), pair("2", 1.0)
    digests = [digest_of_pairs(pairs) for pairs in ([a, b], [b, a], [a], [a, pair("2", 2.0)])]
    assert len(set(digests)) == 4
    assert digest_of_pairs([pair("1", 1.0), b]) == digests[0]
