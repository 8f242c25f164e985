"""The page in examples/onnx_browser finds in a real browser the matches that Python finds, and needs no network."""

import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import PIL.Image
import pytest
from browser import browser, wait_until
from exported_files import untyped

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "onnx_browser"
pytestmark = pytest.mark.rare


@pytest.fixture(scope="module")
def onnxruntime_web():
    """The packages that package.json names, kept between runs, since they are 150 MB."""
    version = json.loads((EXAMPLE / "package.json").read_text())["dependencies"]["onnxruntime-web"]
    kept = Path(tempfile.gettempdir()) / f"photoglue-onnxruntime-web-{version}-{os.getuid()}"
    if not kept.is_dir():
        if (npm := shutil.which("npm")) is None:
            pytest.skip("npm is not installed")
        fresh = Path(tempfile.mkdtemp(dir=kept.parent))
        shutil.copy(EXAMPLE / "package.json", fresh)
        try:
            words = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(words, cwd=fresh, capture_output=True, text=True, check=False, timeout=300)
            if done.returncode != 0:
                pytest.skip(f"npm cannot fetch onnxruntime-web: {done.stderr[-200:]}")
            if not kept.is_dir():
                fresh.rename(kept)
        except subprocess.TimeoutExpired:
            pytest.skip("npm takes longer than 5 minutes to fetch onnxruntime-web")
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return kept / "node_modules"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A bundle that is quick: 100 points of the smallest ALIKED, and three layers of their matcher."""
    from photoglue.export import export_bundle

    folder = tmp_path_factory.mktemp("models")
    with untyped():
        export_bundle(folder / "bundle", "aliked-t16", max_keypoints=100, n_layers=3)
    return folder / "bundle"


@pytest.fixture(scope="module")
def photos(tmp_path_factory, motorcycle):
    """A stereo pair as PNG files, 320 pixels wide, which page and Python read alike and do not resize."""
    folder, paths = tmp_path_factory.mktemp("photos"), []
    for name, path in zip(("left.png", "right.png"), motorcycle, strict=True):
        with PIL.Image.open(path) as picture:
            small = picture.convert("RGB")
            small.thumbnail((320, 320))
            small.save(folder / name)
        paths.append(folder / name)
    return paths


@pytest.fixture(scope="module")
def url(tmp_path_factory, onnxruntime_web, models):
    """The example, served by its own program."""
    spec = importlib.util.spec_from_file_location("serve", EXAMPLE / "serve.py")
    serve = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(serve)
    serve.Handler.log_message = lambda *_: None
    folder = tmp_path_factory.mktemp("served") / "page"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules", "models"))
    (folder / "node_modules").symlink_to(onnxruntime_web)
    (folder / "models").symlink_to(models)
    serving = serve.server(folder, 0)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}/"
    serving.shutdown()
    serving.server_close()


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


STATUS = "document.getElementById('status').textContent"


def test_two_photos(chromium, url, models, photos):
    """As many matches as Python has; the slider; dark and light; a file that is no photo; models that are missing."""
    import photoglue
    from photoglue.export import load_extractor, load_matcher

    extractor, matcher = load_extractor(models / "extractor.onnx", resize=320), load_matcher(models / "matcher.onnx")
    expected = photoglue.Pipeline(extractor, matcher).match(*photos)
    page = chromium.new_page(viewport={"width": 1000, "height": 800}, color_scheme="dark")
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    wait_until(page, f"{STATUS}.startsWith('Choose two')", 300)
    page.set_input_files("#photo0", photos[0])
    page.set_input_files("#photo1", photos[1])
    wait_until(page, f"{STATUS}.includes('shown')", 300)
    told = page.inner_text("#status").split()
    shown, of = int(told[0]), int(told[2])
    assert shown == of == pytest.approx(len(expected), rel=0.02)
    assert of > 20
    assert page.get_attribute("#picture", "aria-label").startswith("left.png and right.png: ")

    page.focus("#threshold")
    page.keyboard.press("End")
    assert page.inner_text("#shown") == "0.99"
    told = page.inner_text("#status").split()
    surest = int((expected.matching_scores0[expected.matches0 >= 0] >= 0.99).sum())
    assert (int(told[0]), int(told[2])) == (pytest.approx(surest, abs=2), of)

    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.emulate_media(color_scheme="light")
    assert page.evaluate(paper) != dark

    page.set_input_files("#photo0", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"no photo"})
    wait_until(page, f"{STATUS} === 'a.txt is no photo that this browser can read.'")
    assert not complaints
    assert [each for each in asked if not each.startswith((url, f"blob:{url}", "data:"))] == []

    page.route("**/models/manifest.json", lambda route: route.fulfill(status=404))
    page.reload()
    wait_until(page, f"{STATUS}.includes('photoglue export bundle --out models')")
    page.close()
