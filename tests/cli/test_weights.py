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

    @pytest.mark.slow
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

    def test_requests_that_would_do_nothing(self, cli, tmp_path, monkeypatch):
        code, _, err = cli("weights", "list", "--to", tmp_path / "carry")
        assert code == 1
        assert "--to is for photoglue weights fetch; list has no use for it" in err
        code, _, err = cli("weights", "verify", "--allow-noncommercial")
        assert code == 1
        assert "--allow-noncommercial is for photoglue weights fetch" in err
        monkeypatch.setenv("PHOTOGLUE_CACHE", str(tmp_path))
        code, printed, _ = cli("weights", "verify", "superpoint")
        assert code == 1  # named, and not there
        assert "superpoint: not on this machine" in printed

    @pytest.mark.slow
    def test_fetch_says_what_it_leaves_out(self, cli, tmp_path, monkeypatch):
        def offline(*_, **__):
            raise OSError("no network")

        monkeypatch.setenv("PHOTOGLUE_CACHE", str(tmp_path))
        monkeypatch.setattr("pooch.retrieve", offline)
        code, printed, _ = cli("weights", "fetch", "--to", tmp_path / "with [brackets]")
        assert code == 1
        assert "left out without --allow-noncommercial: superpoint, doghardnet" in printed
        assert f"✓ aliked-n16: {tmp_path / 'with [brackets]' / 'aliked-n16.pth'}" in printed
        assert "✗ sift-official-lightglue: " in printed

    def test_sift_is_the_packaged_model_and_the_official_file_has_its_own_name(self, cli):
        _, printed, _ = cli("weights", "list")
        assert re.search(r"sift-official-lightglue .*(to download|cache)", printed)
        assert re.search(r"sift-photoglue-lightglue .*package", printed)
        assert "Did you mean" in cli("weights", "list", "sift-lightglue")[2]
