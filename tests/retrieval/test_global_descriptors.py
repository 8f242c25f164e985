"""Vectors in hloc's layout are read as they are, and what is wrong with a file is said."""

import numpy as np
import pytest
import torch

from photoglue.errors import OutputError
from photoglue.retrieval import read_global_descriptors

h5py = pytest.importorskip("h5py", exc_type=ImportError)


def write(path, vectors, key="global_descriptor"):
    """As hloc's ``extract_features`` does: a group by the photo's name, its folders as groups above, half precision."""
    with h5py.File(path, "w") as file:
        for name, vector in vectors.items():
            file.create_group(name).create_dataset(key, data=np.asarray(vector, dtype=np.float16))
    return path


def test_the_vectors_by_name(tmp_path):
    rows = torch.randn(3, 64, generator=torch.manual_seed(0)).numpy()
    names = ["b.jpg", "db/2024/a.jpg", "db/a.jpg"]
    index = read_global_descriptors(write(tmp_path / "netvlad.h5", dict(zip(names, rows, strict=True))))
    assert (index.names, index.made_by) == (tuple(names), "netvlad.h5")
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.abs(index.vectors(0, 3).numpy() - unit).max() < 0.005  # rounded to int8


@pytest.mark.parametrize(
    ("vectors", "key", "said"),
    [
        ({}, "global_descriptor", "no dataset 'global_descriptor'"),
        ({"a.jpg": [1, 2]}, "keypoints", "no dataset 'global_descriptor'"),
        (
            {"a.jpg": [1, 2], "b.jpg": [1, 2, 3]},
            "global_descriptor",
            r"'b.jpg' has the shape \(3,\), that of 'a.jpg' \(2,\)",
        ),
        ({"a.jpg": [[1, 2]]}, "global_descriptor", r"the shape \(1, 2\)"),
        ({"a.jpg": [1, np.nan]}, "global_descriptor", "'a.jpg' has numbers that are not finite"),
    ],
)
def test_what_is_no_such_file(tmp_path, vectors, key, said):
    with pytest.raises(OutputError, match=said):
        read_global_descriptors(write(tmp_path / "f.h5", vectors, key))


def test_no_file_and_another_one(tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    for name in ("missing.h5", "text.h5"):
        with pytest.raises(OutputError, match=f"{name}' has no global descriptors that can be read"):
            read_global_descriptors(tmp_path / name)
