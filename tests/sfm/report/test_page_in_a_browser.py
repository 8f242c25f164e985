"""The page as a person uses it, in a real browser: turning, zooming, clicking, sorting, pointing."""

import pytest
from browser import browser, wait_until
from tiny_model import write_tiny_model

from photoglue.sfm.report.page import write_map_report

pytestmark = pytest.mark.rare
NAMES = ("a.jpg", "b.jpg", "c10.jpg", "c9.jpg", "<script>.jpg")
VIEW = "[photoglue.viewer.yaw, photoglue.viewer.pitch, photoglue.viewer.distance, ...photoglue.viewer.target]"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    for package in ("pycolmap", "matplotlib"):
        pytest.importorskip(package, exc_type=ImportError)
    folder = tmp_path_factory.mktemp("page")
    tiny = write_tiny_model(folder, names=NAMES, points=400)
    verified = [(NAMES[i], NAMES[j], 20 * (i + j), "planar" if i else "calibrated") for j in range(5) for i in range(j)]
    unplaced = {"z.jpg": "no verified pair"}
    return write_map_report(
        folder / "page.html", model=tiny.model, photos=tiny.photos, verified=verified[:-1], unplaced=unplaced
    )


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture(params=["desk", "phone"])
def page(request, chromium, page_file):
    """The page, as wide as a screen or a phone; anything that the browser complains of fails the test."""
    size = {"width": 1300, "height": 900} if request.param == "desk" else {"width": 390, "height": 800}
    context = chromium.new_context(viewport=size, has_touch=request.param == "phone", offline=True)
    page = context.new_page()
    complaints = []

    def hear(message):  # that reading pixels back is slow is said of this test, not of the page
        if message.type in ("error", "warning") and "ReadPixels" not in message.text:
            complaints.append(message.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(page_file.as_uri())
    wait_until(page, "globalThis.photoglue?.viewer.last")
    page.set_default_timeout(5000)
    yield page
    assert complaints == []
    context.close()


def drawn(page):
    """How many pixels of the view are not empty, and their sum."""
    return page.evaluate(
        """() => {
            const viewer = photoglue.viewer, gl = viewer.gl;
            const width = gl.drawingBufferWidth, height = gl.drawingBufferHeight;
            const pixels = new Uint8Array(4 * width * height);
            viewer.drawNow();
            gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
            let count = 0, sum = 0;
            for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3]) { count++; sum += (i % 9973) * pixels[i]; }
            return [count, sum];
        }"""
    )


def middle(page):
    box = page.locator("#view").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def camera_on_screen(page, camera):
    box = page.locator("#view").bounding_box()
    x, y, _ = page.evaluate(f"photoglue.viewer.place(photoglue.viewer.camera({camera}).centre)")
    return box["x"] + x, box["y"] + y


def test_points_are_seen_and_drag_and_wheel_move_them(page):
    first = drawn(page)
    assert first[0] > 400
    x, y = middle(page)
    before = page.evaluate(VIEW)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 30, steps=4)
    page.mouse.up()
    turned = page.evaluate(VIEW)
    assert turned[0] < before[0] and turned[1] > before[1] and turned[2:] == before[2:]
    assert drawn(page) != first
    page.mouse.wheel(0, -300)
    wait_until(page, f"photoglue.viewer.distance < {0.8 * before[2]}")
    assert page.evaluate("scrollY") == 0
    page.keyboard.down("Shift")
    page.mouse.down()
    page.mouse.move(x + 100, y, steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    assert page.evaluate(VIEW)[3:] != turned[3:]
    page.get_by_role("button", name="Reset").click()
    assert page.evaluate(VIEW) == pytest.approx(before)


def test_all_cameras_are_in_the_first_view(page):
    box = page.locator("#view").bounding_box()
    for camera in range(5):
        x, y = camera_on_screen(page, camera)
        assert box["x"] < x < box["x"] + box["width"] and box["y"] < y < box["y"] + box["height"]


def test_a_click_on_a_camera_shows_its_photo_and_neighbours(page):
    page.mouse.move(*camera_on_screen(page, 2))
    assert page.locator("#tip").inner_text() == "b.jpg"
    page.mouse.click(*camera_on_screen(page, 2))
    panel = page.locator("#panel")
    assert panel.locator("h3").inner_text() == "b.jpg"
    assert panel.locator("img.big").evaluate("image => image.complete && image.naturalWidth") == 64
    partners = panel.locator("li")
    assert partners.count() == 4
    assert partners.first.inner_text().split() == ["100", "planar", "<script>.jpg"]
    assert page.locator("tr.chosen").get_attribute("data-photo") == "2"
    partners.first.locator("button").click()
    assert panel.locator("h3").inner_text() == "<script>.jpg"
    if page.viewport_size["width"] < 500:
        page.locator("#view").scroll_into_view_if_needed()
        page.touchscreen.tap(*camera_on_screen(page, 1))
        assert panel.locator("h3").inner_text() == "a.jpg"


def test_a_double_click_on_a_point_makes_it_the_middle(page):
    box = page.locator("#view").bounding_box()
    point = page.evaluate("[...photoglue.viewer.points.subarray(30, 33)]")
    x, y, _ = page.evaluate(f"photoglue.viewer.place({point})")
    before = page.evaluate("globalThis.matrixBefore = photoglue.viewer.last, photoglue.viewer.distance")
    page.mouse.dblclick(box["x"] + x, box["y"] + y)
    assert page.evaluate("photoglue.viewer.distance") == pytest.approx(0.6 * before)
    target = page.evaluate("photoglue.viewer.place(photoglue.viewer.target, matrixBefore)")
    assert target[:2] == pytest.approx([x, y], abs=14)  # a nearer point may hide it


def test_two_fingers_zoom(page):
    if page.viewport_size["width"] > 500:
        pytest.skip("a phone has fingers")
    before = page.evaluate("photoglue.viewer.distance")
    x, y = middle(page)
    session = page.context.new_cdp_session(page)
    for kind, gap in (("touchStart", 30), ("touchMove", 60), ("touchMove", 100)):
        points = [{"x": x - gap, "y": y, "id": 0}, {"x": x + gap, "y": y, "id": 1}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait_until(page, f"photoglue.viewer.distance < {0.6 * before}")


def test_keys(page):
    page.locator("#view").focus()
    before = page.evaluate(VIEW)
    for key in ("ArrowLeft", "ArrowUp", "+"):
        page.keyboard.press(key)
    after = page.evaluate(VIEW)
    assert after[0] < before[0] and after[1] > before[1] and after[2] < before[2]
    page.keyboard.press("Shift+ArrowUp")
    assert page.evaluate(VIEW)[3:] != after[3:]
    page.keyboard.press("n")
    page.keyboard.press("n")
    assert page.locator("#panel h3").inner_text() == "a.jpg"
    page.keyboard.press("Enter")
    assert page.get_by_role("button", name="Look through").get_attribute("aria-pressed") == "true"
    # Through a camera, its points lie where its photo has them: the middle of the view is the middle of the photo.
    place = page.evaluate(
        "(() => { const v = photoglue.viewer; v.drawNow(); return v.place(v.fromCamera(v.camera(1), 0, 0, 1)); })()"
    )
    size = page.locator("#view").bounding_box()
    assert place[:2] == pytest.approx([size["width"] / 2, size["height"] / 2], abs=0.5)
    page.keyboard.press("ArrowLeft")
    assert not page.evaluate("photoglue.viewer.through")
    page.keyboard.press("Escape")
    assert page.evaluate("photoglue.viewer.chosen") == -1


def column(page, number):
    return page.locator(f"#table tbody tr:not([hidden]) > :nth-child({number})").all_inner_texts()


def test_the_table_sorts_and_filters(page):
    assert column(page, 1) == ["<script>.jpg", "a.jpg", "b.jpg", "c10.jpg", "c9.jpg", "z.jpg"]
    head = page.locator("#table thead button")
    head.nth(0).click()
    assert column(page, 1) == ["<script>.jpg", "a.jpg", "b.jpg", "c9.jpg", "c10.jpg", "z.jpg"]  # 9 before 10
    head.nth(0).click()
    assert column(page, 1)[0] == "z.jpg"
    assert page.locator("#table thead th").nth(0).get_attribute("aria-sort") == "descending"
    head.nth(1).click()  # points: the largest first, photos without a place last
    assert column(page, 2) == ["400"] * 5 + [""]
    head.nth(3).click()
    assert [int(text) for text in column(page, 4)] == sorted((int(text) for text in column(page, 4)), reverse=True)
    head.nth(3).click()
    assert [int(text) for text in column(page, 4)] == sorted(int(text) for text in column(page, 4))
    page.get_by_placeholder("Find by name").fill("C")
    assert sorted(column(page, 1)) == ["<script>.jpg", "c10.jpg", "c9.jpg"]
    page.get_by_placeholder("Find by name").fill("")
    page.get_by_label("only those not placed").check()
    assert column(page, 1) == ["z.jpg"]
    page.locator("#table .name:visible").click()
    assert "no verified pair" in page.locator("#panel").inner_text()


def test_pointing_at_the_matrix_names_the_pair(page):
    matrix = page.locator("#matrix")
    matrix.scroll_into_view_if_needed()
    box = matrix.bounding_box()
    at = lambda row, column: {"x": box["width"] * (column + 0.5) / 6, "y": box["height"] * (row + 0.5) / 6}  # noqa: E731
    matrix.hover(position=at(1, 2))
    assert page.locator("#pair").inner_text() == "20 inliers, calibrated\na.jpg – b.jpg"
    matrix.hover(position=at(2, 1))
    assert page.locator("#pair").inner_text().endswith("b.jpg – a.jpg")
    matrix.hover(position=at(1, 5))
    assert page.locator("#pair").inner_text() == "no pair: a.jpg – z.jpg"
    matrix.click(position=at(2, 1))
    assert page.locator("#panel h3").inner_text() == "b.jpg"


def test_nothing_is_wider_than_the_page(page):
    page.evaluate("photoglue.choose(1)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_lost_context_comes_back(page):
    """As when a laptop's graphics restart."""
    before = drawn(page)
    page.evaluate("globalThis.loss = photoglue.viewer.gl.getExtension('WEBGL_lose_context'), loss.loseContext()")
    wait_until(page, "photoglue.viewer.gl.isContextLost()")
    page.evaluate("photoglue.choose(1), photoglue.choose(-1), photoglue.viewer.draw(), loss.restoreContext()")
    wait_until(page, "!photoglue.viewer.gl.isContextLost()")
    page.wait_for_timeout(100)
    assert drawn(page) == before


def test_dark_and_light(chromium, page_file):
    paper = {}
    for scheme in ("light", "dark"):
        context = chromium.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(page_file.as_uri())
        paper[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        context.close()
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 20, 24)"}


def test_without_webgl_all_else_works(chromium, page_file):
    context = chromium.new_context()
    page = context.new_page()
    page.add_init_script(
        """const get = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind) {
            return kind === "webgl" ? null : get.call(this, kind);
        };"""
    )
    page.goto(page_file.as_uri())
    assert "no WebGL" in page.locator(".help").inner_text()
    page.locator("#table .name").nth(1).click()
    assert page.locator("#panel h3").inner_text() == "a.jpg"
    context.close()
