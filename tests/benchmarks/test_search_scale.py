"""A tiny run of search_scale.py, and the vectors that it adds."""

import pytest
import torch
from tiny_photos import write_photo

pytest.importorskip("cv2", exc_type=ImportError)
pytest.importorskip("h5py", exc_type=ImportError)


@pytest.mark.rare
def test_search_scale(tmp_path, capsys, started):
    import search_scale

    for number in range(4):
        write_photo(tmp_path / "photos" / f"{number}.png", number, (96, 80))
    started(search_scale, f"{tmp_path / 'photos'} --photos 30 --features sift --rounds 2 --out {tmp_path / 'out'}")
    out = capsys.readouterr().out
    assert "4 photos and 26 others: 0.5 MB" in out
    assert [line.split(" | ")[0] for line in out.splitlines() if line.startswith("| ")][1:] == [
        "| load",
        "| query",
        "| photo to answer",
        "| the next photo",
    ]


def test_what_is_added_is_made_of_pieces_of_what_is_there():
    import search_scale

    from photoglue.retrieval import PhotoIndex

    vectors = torch.randn(3, 16384, generator=torch.Generator().manual_seed(0))
    real = PhotoIndex.of_vectors(["a", "b", "c"], vectors, "test")
    large = search_scale.with_others(real, 10)
    assert len(large) == 10
    assert torch.equal(large.codes[:3], real.codes)
    blocks, piece = real.vectors(0, 3).reshape(3, 128, 128), large.vectors(5, 6).reshape(128, 128)
    cosines = torch.nn.functional.cosine_similarity(blocks, piece[None], dim=2)
    assert (cosines.max(dim=0).values > 0.999).all()
    assert search_scale.undisturbed(real, real) == 1.0
