"""pycolmap is imported in such a way that nothing else in the process breaks."""

import subprocess
import sys

import pytest

from photoglue.errors import MissingExtra
from photoglue.solvers import colmap


@pytest.mark.slow
def test_other_packages_still_compress_after_it(tmp_path):
    """Imported before zlib, pycolmap's own zlib makes PNG writing and gzip abort."""
    pytest.importorskip("pycolmap", exc_type=ImportError)
    script = (
        "from photoglue.solvers.colmap import pycolmap; pycolmap()\n"
        "import gzip, numpy; from PIL import Image\n"
        "assert gzip.decompress(gzip.compress(bytes(10**6))) == bytes(10**6)\n"
        f"Image.fromarray(numpy.zeros((300, 300, 3), 'uint8')).save({str(tmp_path / 'a.png')!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").stat().st_size > 100


def test_absence_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(MissingExtra, match=r"photoglue\[sfm\]"):
        colmap.pycolmap()
