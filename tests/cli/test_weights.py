"""`photoglue weights list | fetch | verify`."""

import re

import pytest


@pytest.mark.weights
class TestWeights:
    def test_list(self, cli):
        code, printed, _ = cli("weights", "list")
        assert code == 0
        assert re.search(r"aliked-lightglue +Apache-2.0 +yes +47.6 +package", printed)
        assert re.search(r"superpoint .*no", printed)
        assert "pinned on first use" in printed

    def test_verify(self, cli, tmp_path, monkeypatch):
        code, printed, _ = cli("weights", "verify", "aliked-lightglue", "disk-lightglue")
        assert code == 0
        assert printed.count("✓") == 2
        (tmp_path / "disk_lightglue.pth").write_bytes(b"junk")
        monkeypatch.setenv("PHOTOGLUE_WEIGHTS", str(tmp_path))
        code, printed, _ = cli("weights", "verify")
        assert code == 1
        assert "disk_lightglue.pth is corrupt" in printed.replace("\n", "")

    def test_fetch_to_a_folder_that_then_serves(self, cli, tmp_path, monkeypatch):
        code, _, _ = cli("weights", "fetch", "aliked-n16", "--to", tmp_path / "carry")
        assert code == 0
        monkeypatch.setenv("PHOTOGLUE_WEIGHTS", str(tmp_path / "carry"))
        from photoglue.extractors.aliked import WEIGHTS
        from photoglue.weights import locate

        assert locate(WEIGHTS["aliked-n16"]).origin == "folder"

    def test_unknown_name(self, cli):
        code, _, err = cli("weights", "fetch", "alikd-lightglue")
        assert code == 1
        assert "Did you mean 'aliked-lightglue'" in err
