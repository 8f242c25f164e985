"""The page as a person uses it, in a real browser: dropping, sliding, pointing, saving, and what goes wrong."""

import json

import numpy as np
import PIL.Image
import pytest
from browser import browser, wait_until

pytestmark = pytest.mark.rare


@pytest.fixture(scope="module")
def chromium():
    pytest.importorskip("cv2", exc_type=ImportError)
    pytest.importorskip("poselib", exc_type=ImportError)
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def server():
    from photoglue.web import WebServer

    with WebServer() as started:
        yield started


@pytest.fixture(scope="module")
def files(small_pair):
    """What a file chooser gives, so that the page gets it with a name."""
    names = ("left of it.jpg", "<b>right.jpg")
    return [
        {"name": name, "mimeType": "image/jpeg", "buffer": content}
        for name, content in zip(names, small_pair, strict=True)
    ]


@pytest.fixture(scope="module")
def open_page(chromium, server):
    """Open the page, with quick settings; anything that the browser complains of fails."""
    complaints, contexts = [], []

    def open_one(width=1300, height=900, expected="Canvas2D", url=server.url, **options):
        """Expected: what it may complain of; that reading pixels back is slow is said of this test, not of the page."""
        context = chromium.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)

        def hear(message):
            if message.type in ("error", "warning") and expected not in message.text:
                complaints.append(message.text)

        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        quick = {"features": "sift", "max_keypoints": "256", "resize": "320"}
        for name, value in {**quick, **dict.fromkeys(("rotation", "zoom", "tiles"), "off")}.items():
            page.locator(f"[data-setting={name}]").select_option(value)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def matched_page(open_page, files):
    """A page with both photos, dropped."""
    page = open_page()
    assert page.locator("#empty").is_visible()
    drop(page, files)
    wait_until(page, "photoglue.view.result")
    return page


@pytest.fixture
def page(matched_page):
    """It, as it was after the photos were dropped."""
    yield matched_page
    matched_page.evaluate(
        "view.fit(); view.pointAt(null); choose('mode', 'matches'); choose('which', 'all'); describeShown()"
    )
    matched_page.locator("#threshold").fill("0")
    for name in ("lines", "dim"):
        matched_page.locator(f"#{name}").check()


def choose(page, files):
    page.locator("#file").set_input_files(files)


def matched(page, files):
    choose(page, files)
    wait_until(page, "photoglue.view.result")
    return page


def drop(page, files, selector="#view"):
    """As a person drops files: with an event that carries them."""
    contents = [[file["name"], list(file["buffer"])] for file in files]
    data = page.evaluate_handle(
        """(contents) => {
            const data = new DataTransfer();
            for (const [name, bytes] of contents) data.items.add(new File([new Uint8Array(bytes)], name));
            return data;
        }""",
        contents,
    )
    page.dispatch_event(selector, "drop", {"dataTransfer": data, "clientX": 300, "clientY": 300})


def shown(page):
    return page.evaluate("photoglue.view.rows().length")


def drawn(page):
    """How many pixels of the view are of lines and points, from green to yellow; and a sum of all."""
    return page.evaluate(
        """() => {
            const canvas = view.canvas;
            view.drawNow();
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let count = 0, sum = 0;
            for (let i = 0; i < data.length; i += 4) {
                sum += (i % 9973) * data[i + 1];
                if (data[i + 1] > data[i + 2] + 60) count++;
            }
            return [count, sum];
        }"""
    )


def test_two_photos_are_dropped_and_lines_appear(page):
    count = shown(page)
    assert count > 60 and drawn(page)[0] > 2000
    assert page.locator(".count").inner_text().split() == [str(count), "matches"]
    assert page.locator(".overlap").inner_text().startswith("The photos show the same thing")
    assert "layer" in page.locator("#verdict dl").inner_text() and "match " in page.locator(".timewords").inner_text()
    assert [name.inner_text().split("\n")[0] for name in page.locator(".slot .name").all()] == [
        "left of it.jpg300 × 202", "<b>right.jpg300 × 202",
    ]  # fmt: skip
    assert page.locator("#command code").inner_text() == (
        "photoglue match 'left of it.jpg' '<b>right.jpg' --features sift --max-keypoints 256 --resize 320 "
        "--rotation off --zoom off --tiles off --verify fundamental --out matches.json --plot matches.png"
    )


def test_the_slider_and_the_toggles_ask_nobody(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    every = shown(page)
    slider = page.locator("#threshold")
    slider.fill("0.9")
    few = shown(page)
    assert 0 < few < every
    assert page.locator("#shown").inner_text() == f"{few} of {every} matches shown"
    assert page.locator("#least").inner_text() == "0.90"
    slider.fill("0")
    inliers = page.evaluate("photoglue.view.result.inliers.filter(Boolean).length")
    counts = {}
    for which in ("inliers", "outliers", "all"):
        page.locator(f"[name=which][value={which}]").check()
        counts[which] = shown(page)
    assert counts == {"inliers": inliers, "outliers": every - inliers, "all": every}
    for name in ("lines", "dim"):
        before = drawn(page)
        page.locator(f"#{name}").uncheck()
        assert drawn(page) != before
    pictures = set()
    for mode in ("matches", "points", "pruning"):
        page.locator(f"[name=mode][value={mode}]").check()
        pictures.add(drawn(page)[1])
    assert len(pictures) == 3
    assert "kept to the end" in page.locator("#shown").inner_text()
    assert asked == []


def test_pointing_shows_the_partner(page):
    box = page.locator("#view").bounding_box()
    row = page.evaluate("photoglue.view.rows().at(-1)")
    end = f"photoglue.view.place(1, ...photoglue.view.result.points[1][photoglue.view.result.pairs[{row}][1]])"
    x, y = page.evaluate(end)
    page.mouse.move(box["x"] + x, box["y"] + y)
    assert page.evaluate("photoglue.view.point.side") == 1
    assert page.evaluate("photoglue.view.partner(photoglue.view.point).row") == page.evaluate(
        "photoglue.view.rowOf(photoglue.view.point)"
    )
    assert " ↔ " in page.locator("#tip").inner_text() and "confidence" in page.locator("#tip").inner_text()
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    assert page.locator("#tip").is_hidden()


def test_zoom_and_pan(page):
    box = page.locator("#view").bounding_box()
    at = "photoglue.view.place(0, 150, 100)"
    x, y = page.evaluate(at)
    page.mouse.move(box["x"] + round(x), box["y"] + round(y))
    page.mouse.wheel(0, -500)
    wait_until(page, "photoglue.view.scale > 2")
    assert page.evaluate(at) == pytest.approx([x, y], abs=1.5)  # what is under the pointer stays there
    before = page.evaluate(at)
    page.mouse.down()
    page.mouse.move(box["x"] + round(x) + 50, box["y"] + round(y) - 30, steps=3)
    page.mouse.up()
    assert page.evaluate(at) == pytest.approx([before[0] + 50, before[1] - 30], abs=0.1)
    page.locator("#fit").click()
    assert page.evaluate("photoglue.view.scale") == 1
    assert page.evaluate(at) == pytest.approx([x, y], abs=0.1)


def test_by_keyboard_alone(page):
    page.locator("#view").focus()
    page.keyboard.press("n")
    best = page.evaluate("photoglue.view.rowOf(photoglue.view.point)")
    assert best == page.evaluate("photoglue.view.rows().at(-1)")
    assert "confidence" in page.locator("#status").inner_text()  # is read aloud
    page.keyboard.press("n")
    page.keyboard.press("p")
    assert page.evaluate("photoglue.view.rowOf(photoglue.view.point)") == best
    for key in ("+", "+", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.evaluate("photoglue.view.scale") == pytest.approx(1.96)
    page.keyboard.press("0")
    page.keyboard.press("Escape")
    assert page.evaluate("photoglue.view.point") is None
    page.keyboard.press("i")
    assert page.locator("[name=which][value=inliers]").is_checked()
    page.keyboard.press("Tab")  # nothing holds the focus
    assert page.evaluate("document.activeElement.id") == "out"


def test_settings_and_photos_are_exchanged_at_once(open_page, files):
    page = matched(open_page(), files)
    before = page.evaluate("photoglue.held.map((photo) => photo.key)")
    page.locator("#swap").click()
    wait_until(page, f"photoglue.held[0].key === '{before[1]}' && photoglue.view.result")
    drop(page, files[:1])  # on the left photo
    wait_until(page, f"photoglue.held[0].key === '{before[0]}' && photoglue.view.result")
    assert page.evaluate("photoglue.held[1].key") == before[0]
    assert "the same name" in page.locator("#command .note").inner_text()
    page.evaluate("globalThis.first = photoglue.view.result")
    page.locator("[data-setting=verify]").select_option("homography")
    wait_until(page, "photoglue.view.result && photoglue.view.result !== first")
    assert "homography" in page.locator("#verdict dl").inner_text()
    page.locator("[data-setting=preset]").select_option("edge")
    assert page.locator("[data-setting=max_keypoints]").input_value() == "512"
    page.locator("[data-setting=preset]").select_option("default")
    assert page.locator("[data-setting=max_keypoints]").input_value() == "2048"


def test_masks(open_page, server, files, encode):
    page = open_page(expected="status of 4")  # 422 and 410
    masks = page.locator("[data-mask]")
    assert masks.first.is_disabled()
    matched(page, files)
    size = page.evaluate("[photoglue.held[0].width, photoglue.held[0].height]")
    values = np.zeros(size[::-1], np.uint8)
    values[:, :150] = 255
    left = {"name": "left half.png", "mimeType": "image/png", "buffer": encode(PIL.Image.fromarray(values), "PNG")}

    def give(file, side=0):
        page.evaluate("globalThis.first = photoglue.view.result")
        with page.expect_file_chooser() as chooser:
            masks.nth(side).click()
        chooser.value.set_files(file)

    def anew():
        wait_until(page, "photoglue.view.result && photoglue.view.result !== first")

    farthest = "Math.max(...photoglue.view.result.points[{}].map(([x]) => x))"
    give(left)
    anew()
    assert page.evaluate(farthest.format(0)) < 150 < page.evaluate(farthest.format(1))
    assert masks.first.inner_text() == "× left half.png" and masks.nth(1).inner_text() == "choose…"
    assert "--mask0 'left half.png'" in page.locator("#command code").inner_text()
    give({**files[0], "buffer": encode(PIL.Image.new("L", (9, 9), 255), "PNG")}, 1)
    wait_until(page, "!document.getElementById('error').hidden")
    assert "has 9 × 9 pixels" in page.locator("#error").inner_text()
    page.evaluate("globalThis.first = photoglue.view.result")
    page.locator("#swap").click()  # the mask goes with its photo
    anew()
    assert page.evaluate(farthest.format(1)) < 150 and masks.nth(1).inner_text() == "× left half.png"
    page.evaluate("globalThis.first = photoglue.view.result")
    server.photos._photos.clear()  # both are sent again, and so is the mask
    page.locator("[data-setting=verify]").select_option("homography")
    anew()
    assert page.evaluate(farthest.format(1)) < 150
    page.evaluate("globalThis.first = photoglue.view.result")
    masks.nth(1).click()
    anew()
    assert page.evaluate(farthest.format(1)) > 200 and "mask" not in page.locator("#command code").inner_text()


def test_refinement(open_page, files):
    page = matched(open_page(), files)
    page.evaluate("globalThis.first = photoglue.view.result")
    refine = page.locator("[data-setting=refine]")
    refine.select_option("subpixel")
    wait_until(page, "photoglue.view.result && photoglue.view.result !== first")
    assert "--refine subpixel" in page.locator("#command code").inner_text()
    assert page.evaluate("photoglue.view.result.points[1]") != page.evaluate("first.points[1]")
    for preset, implied in (("best", "subpixel"), ("default", "")):
        page.locator("[data-setting=preset]").select_option(preset)
        assert refine.input_value() == implied


def test_saving(page, tmp_path):
    saved = {}
    for button in ("json", "png"):
        with page.expect_download() as download:
            page.locator(f"#{button}").click()
        saved[button] = tmp_path / button
        download.value.save_as(saved[button])
        assert download.value.suggested_filename.startswith("left of it-")
    content = json.loads(saved["json"].read_text())
    assert (content["format"], len(content["indices"])) == ("photoglue-matches", shown(page))
    assert content["images"][0]["path"] == "left of it.jpg"
    with PIL.Image.open(saved["png"]) as picture:
        assert picture.width > 800
        values = np.asarray(picture.convert("RGB")).astype(int)
    assert (values[..., 1] > values[..., 2] + 60).sum() > 2000
    page.locator("#command [value=python]").check()
    assert "photoglue.match_pair(" in page.locator("#command code").inner_text()
    page.locator("#command [value=command]").check()


def test_what_is_no_photo(open_page, files):
    page = open_page(expected="422")
    choose(page, [{"name": "notes.txt", "mimeType": "text/plain", "buffer": b"words"}, files[0]])
    wait_until(page, "!document.getElementById('error').hidden")
    assert "'notes.txt' is not an image that can be read" in page.locator("#error").inner_text()
    assert page.evaluate("photoglue.held.map(Boolean)") == [False, True]  # the other one is kept
    choose(page, files[1:])
    wait_until(page, "photoglue.view.result")
    assert page.locator("#error").is_hidden()
    page.evaluate("SETTINGS.max_bytes = 1000")
    choose(page, files[:1])
    wait_until(page, "!document.getElementById('error').hidden")
    assert "--max-upload-mb" in page.locator("#error").inner_text()


def test_a_photo_of_50_megapixels(open_page, files, encode):
    values = np.asarray(PIL.Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).resize((8192, 6144)))
    large = {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": encode(PIL.Image.fromarray(values))}
    page = matched(open_page(), [large, files[0]])
    assert page.evaluate("[photoglue.held[0].width, photoglue.held[0].height]") == [8192, 6144]
    assert page.evaluate("photoglue.view.photos[0].image.naturalWidth") == 2048


def test_two_tabs(open_page, files):
    one, two = open_page(), open_page()
    choose(one, files)
    choose(two, [files[0], {**files[0], "name": "copy.jpg"}])
    for page in (one, two):
        wait_until(page, "photoglue.view.result")
    same = "photoglue.view.result.pairs.filter(([i, j]) => i === j).length / photoglue.view.result.pairs.length"
    assert two.evaluate(same) > 0.9 > one.evaluate(same)


def test_a_photo_that_was_let_go_is_sent_again(open_page, server, files):
    page = matched(open_page(expected="410"), files)
    server.photos._photos.clear()
    page.evaluate("globalThis.first = photoglue.view.result")
    page.locator("[data-setting=verify]").select_option("")
    wait_until(page, "photoglue.view.result && photoglue.view.result !== first")
    assert page.locator("#error").is_hidden()
    assert page.locator("[name=which][value=inliers]").is_disabled()


def test_on_a_phone_in_the_dark(open_page, files):
    page = matched(open_page(390, 800, has_touch=True, color_scheme="dark"), files)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 20, 24)"
    box = page.locator("#view").bounding_box()
    session = page.context.new_cdp_session(page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for kind, gap in (("touchStart", 30), ("touchMove", 60), ("touchMove", 100)):
        points = [{"x": x - gap, "y": y, "id": 0}, {"x": x + gap, "y": y, "id": 1}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait_until(page, "photoglue.view.scale > 2")
    for name in page.locator("button:visible, select:visible").all():
        assert name.bounding_box()["height"] >= 24  # a finger finds it


def test_a_photo_is_placed_in_a_map(open_page, map_server, stray):
    page = open_page(url=map_server.url)
    assert page.locator("#place").is_hidden()
    page.locator("[name=task][value=place]").check()
    wait_until(page, "photoglue.placed.viewer?.last")
    assert "Place one in the <map>" in page.locator("#task").inner_text()
    choose(page, [{"name": "me.png", "mimeType": "image/png", "buffer": stray[0]}])
    wait_until(page, "photoglue.placed.answer")
    assert page.locator("#placed .overlap").inner_text() == "The photo was taken here"
    assert page.evaluate("[photoglue.placed.viewer.count, photoglue.placed.viewer.chosen]") == [5, 4]
    wait_until(page, "photoglue.placed.viewer.hasPhoto")
    page.locator("#through").click()
    assert page.evaluate("photoglue.placed.viewer.through")
    button = page.locator("#seen button").first
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    wait_until(page, "[...document.querySelectorAll('#seen img')].every((image) => image.naturalWidth)")
    with page.expect_download() as download:
        page.locator("#pose").click()
    content = json.loads(download.value.path().read_text())
    assert download.value.suggested_filename == "me.json" and len(content["stored_cam_from_world"]) == 4
    assert page.locator("#place-command code").inner_text().startswith("photoglue localize me.png --map ")
    choose(page, [{"name": "far.png", "mimeType": "image/png", "buffer": stray[1]}])
    wait_until(page, "!photoglue.placed.answer.record.localised")
    assert page.evaluate("photoglue.placed.viewer.count") == 4
    page.locator("[name=task][value=match]").check()
    assert page.locator("#view").is_visible() and page.locator("#model").is_hidden()
