"""What people do with the page, in a real browser on the real service."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import clipserve
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from testing.axe import grave_findings
from testing.browser import Watch, watched_page
from testing.page import PASTE, PHOTOS, PICTURES, SLOW, classified, drop, opened, searched, tab_to
from testing.service import ROOT, START_SECONDS, Gateway, Service, start_gateway

BLOBS = """
  window.blobs = new Set();
  const { createObjectURL, revokeObjectURL } = URL;
  URL.createObjectURL = (blob) => {
    const url = createObjectURL.call(URL, blob);
    blobs.add(url);
    return url;
  };
  URL.revokeObjectURL = (url) => {
    blobs.delete(url);
    revokeObjectURL.call(URL, url);
  };
"""
"""Keeps the URLs of pictures in memory that are not freed yet."""
TOKEN = "a-token-for-the-page-of-the-tests"


def is_ready(gateway: Gateway) -> bool:
    try:
        urllib.request.urlopen(f"{gateway.http}/readyz", timeout=10).close()
    except urllib.error.HTTPError:
        return False
    return True


@pytest.fixture(scope="module")
def site(live: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway without collections, beside the Triton of all tests, that serves the page."""
    folder = tmp_path_factory.mktemp("page")
    options = ("--api-port", "0", "--web", "true", "--default-model", "demo", "--max-image-bytes", "200000")
    gateway = start_gateway(live.triton, str(folder / "data"), folder, *options)
    end = time.monotonic() + START_SECONDS
    while not is_ready(gateway):
        assert time.monotonic() < end, gateway.log.read_text()
        time.sleep(0.05)
    yield gateway
    assert gateway.stop() == 0, gateway.log.read_text()


@pytest.fixture
def watch() -> list[Watch]:
    """The watch over the test's page."""
    return []


@pytest.fixture
def page(browser: Browser, site: Gateway, watch: list[Watch]) -> Iterator[Page]:
    with watched_page(browser, site.api) as (page, seen):
        watch.append(seen)
        yield page


@pytest.fixture(scope="module")
def pets(site: Gateway) -> str:
    """A collection of thirty pictures, one of them twice."""
    names = sorted(path.stem for path in PICTURES.glob("*.jpg"))[::8]
    points = [
        clipserve.Point(name, image=PICTURES / f"{name}.jpg", payload={"folder": name[0], "number": i})
        for i, name in enumerate(names)
    ]
    points.append(clipserve.Point("twin", image=PICTURES / f"{names[0]}.jpg", payload={"folder": "z"}))
    with clipserve.Client(site.address) as client:
        client.create_collection("pets", schema={"folder": "string", "number": "int"}, keep_sources=True)
        client.upsert("pets", points)
    return "pets"


def test_a_new_user_gets_to_a_classification_and_a_search(page: Page):
    opened(page)
    page.get_by_role("button", name="A cup of coffee").click()
    ((label, probability, cosine),) = classified(page)
    assert label.startswith("cup of coffee")
    assert re.fullmatch(r"\d+\.\d\s%", probability)
    assert re.fullmatch(r"0\.\d{3}", cosine)
    expect(page.locator("#classify-results .about")).to_contain_text("add up to 100 %")
    page.get_by_role("link", name="Search", exact=True).click()
    page.get_by_role("button", name="Make the example collection").click()
    assert len(searched(page)) == 24
    expect(page.locator("#search-results .thumb img").first).to_be_visible()
    expect(page.locator("#search-results figcaption strong").first).to_contain_text("beats")
    page.fill("#query", "a cat")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#search-results .name").first).to_contain_text("cat")


def test_dropped_and_pasted_pictures_are_classified_side_by_side(page: Page):
    opened(page)
    drop(page, PHOTOS / "cat.jpg", PHOTOS / "rocket.jpg")
    drop(page, PHOTOS / "astronaut.jpg", script=PASTE)
    page.fill("#labels", "cat, rocket, astronaut")
    expect(page.locator("#label-count")).to_have_text("3 labels.")
    page.get_by_role("button", name="Classify 3 pictures").click()
    assert [row[0] for row in classified(page, 3)] == ["cat", "rocket", "astronaut"]


@pytest.mark.slow
def test_a_stored_label_set_takes_the_place_of_the_list(page: Page, site: Gateway):
    with clipserve.Client(site.address) as client:
        client.put_label_set("pets", clipserve.LabelSet(("kitten", "puppy")))
    opened(page)
    page.select_option("#label-set", "pets")
    expect(page.locator("#labels")).to_be_hidden()
    page.get_by_role("button", name="A cat").click()
    assert [row[0] for row in classified(page)] == ["kitten"]


@pytest.mark.slow
def test_scores_by_sigmoid_are_explained(page: Page):
    scores = [{"label": "cat", "index": 0, "probability": 0.00003, "cosine": -0.01}]
    answer = {"results": [{"scores": scores}], "scoreMode": "SCORE_MODE_INDEPENDENT"}
    page.route("**/*/Classify", lambda route: route.fulfill(json=answer))
    opened(page)
    page.get_by_role("button", name="A cat").click()
    assert classified(page) == [["cat", "< 0.01\u00a0%", "−0.010"]]
    expect(page.locator("#classify-results .about")).to_contain_text("each label alone (by sigmoid)")


@pytest.mark.slow
def test_a_bad_picture_fails_alone_and_a_large_one_is_not_sent(page: Page, tmp_path: Path):
    (tmp_path / "notes.jpg").write_text("this is no picture")
    (tmp_path / "large.jpg").write_bytes((PHOTOS / "cat.jpg").read_bytes() + bytes(200_000))
    (tmp_path / "scan.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    opened(page)
    drop(page, tmp_path / "notes.jpg", PHOTOS / "cat.jpg", tmp_path / "large.jpg", tmp_path / "scan.heic")
    expect(page.locator("#classify-pictures .no-preview").first).to_be_visible()
    page.get_by_role("button", name="Classify 4 pictures").click()
    ((label, *_),) = classified(page)
    assert label == "cat"
    errors = [each.inner_text() for each in page.locator("#classify-results .error").all()]
    assert "not an image of a known format" in errors[0]
    assert "this page can send at most 195 KiB" in errors[1]
    assert "HEIC files are not accepted" in errors[2]


def test_an_error_shows_the_servers_words_and_leads_to_the_field(page: Page, watch: list[Watch]):
    opened(page)
    watch[0].expect("status of 400")
    page.fill("#labels", "cat\ncat")
    page.get_by_role("button", name="A cat").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The server does not accept this")
    expect(alert.locator("code")).to_have_text("labels.names[1]")
    alert.get_by_role("button", name="Go to the field").click()
    expect(page.locator("#labels")).to_be_focused()


def test_everything_works_by_keyboard(page: Page):
    opened(page)
    tab_to(page, "A rocket")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    ((label, *_),) = classified(page)
    assert label == "rocket"
    page.evaluate("document.activeElement.blur()")
    tab_to(page, "Search")
    page.keyboard.press("Enter")
    expect(page.locator("#search h1")).to_be_focused()


@pytest.mark.slow
def test_a_search_weighs_filters_folds_and_goes_on_from_a_hit(page: Page, pets: str):
    page.add_init_script(BLOBS)
    opened(page, "search")
    page.select_option("#collection", pets)
    page.fill("#query", "an animal")
    page.keyboard.press("Enter")
    everything = searched(page)
    assert {"acorn", "twin"} <= set(everything) or len(everything) == 24

    page.click("#filter-details > summary")
    page.click("#add-condition")
    page.locator("#conditions .where").select_option("number")
    page.locator("#conditions .how").select_option("lt")
    page.locator("#conditions .what input").fill("5")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#search-results .grid > li")).to_have_count(5)
    page.get_by_role("button", name="Remove this condition").click()

    page.click("#words-details > summary")
    page.click("#add-word")
    page.locator("#words .how").select_option("less")
    page.locator("#words .what").fill("food")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#search-results")).to_contain_text("A weighted query has no percentiles.")
    page.get_by_role("button", name="Remove this word").click()

    page.get_by_role("button", name=re.compile("More like")).first.click()
    expect(page.locator("#like")).to_be_visible()
    searched(page)

    page.set_input_files("#search-files", PICTURES / "acorn.jpg")
    page.get_by_role("button", name=re.compile("Do not search like")).click()
    page.click("#search-form > details:last-child > summary")
    page.check("#fold")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#search-results summary", has_text="1 near-duplicate")).to_be_visible()
    assert len({"acorn", "twin"} & set(searched(page))) == 1
    # What earlier searches showed is freed.
    shown = page.locator("img[src^=blob]").evaluate_all("all => all.map((each) => each.src)")
    assert set(page.evaluate("[...blobs]")) <= set(shown)


@pytest.mark.slow
def test_a_folder_becomes_a_collection(page: Page, site: Gateway, watch: list[Watch], tmp_path: Path):
    lanes: list[str | None] = []

    def busy_at_first(route: Route) -> None:
        lanes.append(route.request.headers.get("x-clipserve-priority"))
        if len(lanes) > 1:
            route.continue_()
        else:
            route.fulfill(status=503, json={"code": "unavailable", "message": "the server is busy"})

    watch[0].expect("status of 503")
    page.route("**/*/UpsertPoints", busy_at_first)
    folder = tmp_path / "My photos"
    (folder / "space").mkdir(parents=True)
    for name, target in (("cat", "cat.jpg"), ("rocket", "space/rocket.jpg")):
        (folder / target).write_bytes((PHOTOS / f"{name}.jpg").read_bytes())
    (folder / "broken.jpg").write_text("no picture")
    (folder / "notes.txt").write_text("for me")
    opened(page, "collections")
    page.set_input_files("#make-folder", folder)
    expect(page.locator("#make-chosen")).to_contain_text("3 pictures")
    expect(page.locator("#left-out summary")).to_contain_text("1 other file left out")
    expect(page.locator("#name")).to_have_value("My-photos")
    page.get_by_role("button", name="Add the pictures").click()
    expect(page.locator("#make-results")).to_contain_text("2 pictures written to My-photos")
    expect(page.locator("#make-results .errors")).to_contain_text("broken.jpg: not an image")
    with clipserve.Client(site.address) as client:
        points = {point.id: point for point in client.scroll("My-photos", with_sources=True)}
    assert lanes == ["bulk", "bulk"]
    assert set(points) == {"cat.jpg", "space/rocket.jpg"}
    assert points["cat.jpg"].image == (PHOTOS / "cat.jpg").read_bytes()
    assert points["space/rocket.jpg"].payload["folder"] == "space"
    assert points["cat.jpg"].payload["bytes"] == (PHOTOS / "cat.jpg").stat().st_size
    page.get_by_role("link", name="Search My-photos").first.click()
    expect(page.locator("#collection")).to_have_value("My-photos")


@pytest.mark.slow
def test_the_server_is_shown_as_ready_once_the_buttons_work(browser: Browser, site: Gateway):
    held: list[Route] = []
    with watched_page(browser, site.api) as (page, _):
        page.route("**/classify.js", lambda route: held.append(route))
        with page.expect_response("**/clipserve.v1.ClipService/GetServerInfo"):
            page.goto("/")
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        expect(page.locator("#server")).not_to_have_text("demo is ready")
        held[0].continue_()
        expect(page.locator("#server")).to_have_text("demo is ready")
        page.get_by_role("button", name="A cat").click()
        classified(page)


@pytest.mark.slow
def test_the_token_is_asked_for_and_stays_in_memory(browser: Browser, live: Service, tmp_path: Path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"page {TOKEN}\n")
    tokens.chmod(0o600)
    options = ("--api-port", "0", "--web", "true", "--token-file", str(tokens), "--default-model", "demo")
    gateway = start_gateway(live.triton, str(tmp_path / "data"), tmp_path, *options)
    try:
        with watched_page(browser, gateway.api) as (page, watch):
            watch.expect("status of 401")
            page.goto("/")
            expect(page.locator("#token")).to_be_focused()
            page.keyboard.type(TOKEN)
            page.keyboard.press("Enter")
            expect(page.locator("#server")).to_have_text("demo is ready")
            page.get_by_role("button", name="A cat").click()
            classified(page)
            page.click(".how > summary")
            code = page.locator(".how").inner_text()
            assert "CLIPSERVE_TOKEN" in code
            assert TOKEN not in page.content() + code
            kept = page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]")
            assert kept == ["", 0, 0]
            page.reload()
            expect(page.locator("#server")).to_have_text("A token is needed")
    finally:
        gateway.stop()


@pytest.mark.slow
def test_the_copied_curl_and_python_do_the_same(page: Page, site: Gateway, pets: str, tmp_path: Path):
    odd = tmp_path / "it's a $(cat) `x`.jpg"
    odd.write_bytes((PHOTOS / "cat.jpg").read_bytes())
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff broken")

    def done(locator: str) -> tuple[str, str]:
        page.locator(f"{locator} .how > summary").click()
        curl, python = page.locator(f"{locator} .how pre").all_inner_texts()
        # The page cannot know the port of gRPC.
        python = re.sub(r"Client\(\"[^\"]+\"", f'Client("{site.address}"', python)
        ran = [
            subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            for command in (["bash", "-c", curl], [sys.executable, "-c", python])
        ]
        assert [each.returncode for each in ran] == [0, 0], [each.stderr for each in ran]
        return ran[0].stdout, ran[1].stdout

    opened(page)
    page.set_input_files("#classify-files", [odd, broken])
    page.fill("#labels", "cat\nan \"odd\" $HOME `label` \\ with 'quotes'")
    page.click("#classify details > summary")
    page.fill("#templates", "a photo of a {}.\na drawing of a {}.")
    page.check("#none")
    page.click("#classify-go")
    classified(page)
    for output in done("#classify-results"):
        assert "odd" in output
        assert "none of the above" in output
        assert "images[1]" in output, "the error of the broken picture"
    page.goto("/#search")
    page.select_option("#collection", pets)
    page.fill("#query", 'a "bird"')
    page.click("#filter-details > summary")
    page.click("#add-condition")
    page.locator("#conditions .how").select_option("ne")
    page.locator("#conditions .what input").fill('"b\\')
    page.click("#words-details > summary")
    page.click("#add-word")
    page.locator("#words .what").fill("sea")
    page.get_by_role("button", name="Search", exact=True).click()
    best = searched(page)[0]
    for output in done("#search-results"):
        assert best in output


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_grave_and_nothing_overflows(
    browser: Browser, site: Gateway, pets: str, scheme, width
):
    size = {"width": width, "height": 800}
    with watched_page(browser, site.api, color_scheme=scheme, viewport=size) as (page, watch):
        watch.expect("status of 400")
        for view, selector in (
            ("classify", "#classify-files"),
            ("search", "#search-files"),
            ("collections", "#make-files"),
        ):
            opened(page, view)
            assert grave_findings(page) == []
            page.set_input_files(selector, PHOTOS / "cat.jpg")
            page.locator("details").evaluate_all("all => all.forEach((each) => (each.open = true))")
            if view == "search":
                page.select_option("#collection", pets)
                page.click("#add-word")
                page.fill("#words .what", "water")
                page.click("#add-condition")
                page.fill("#conditions .what input", "a")
                page.get_by_role("button", name="Search", exact=True).click()
                searched(page)
            elif view == "classify":
                page.click("#classify-go")
                classified(page)
                page.locator(".how").evaluate("each => (each.open = true)")
            assert grave_findings(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.goto("/#classify")
        page.fill("#labels", "cat\ncat")
        page.get_by_role("button", name="A cat").click()
        expect(page.get_by_role("alert")).to_be_visible()
        assert grave_findings(page) == []


@pytest.mark.slow
def test_screenshots_for_the_documents(browser: Browser, site: Gateway):
    """Into build/screenshots; `make screenshots` puts them into docs/images."""
    folder = ROOT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    with clipserve.Client(site.address) as client:
        client.create_collection("pictures", schema={"path": "string"}, keep_sources=True)
        paths = sorted(PICTURES.glob("*.jpg"))
        points = [clipserve.Point(path.name, image=path, payload={"path": path.name}) for path in paths]
        client.upsert("pictures", points)
    for name, size, scheme in (
        ("classify", {"width": 1100, "height": 760}, "light"),
        ("search", {"width": 1100, "height": 1250}, "light"),
        ("phone", {"width": 360, "height": 740}, "dark"),
    ):
        with watched_page(browser, site.api, viewport=size, color_scheme=scheme, reduced_motion="reduce") as (
            page,
            _,
        ):
            if name == "search":
                opened(page, "search")
                page.select_option("#collection", "pictures")
                page.fill("#query", "a musical instrument")
                page.locator("#hits").evaluate("each => (each.value = 10)")
                page.keyboard.press("Enter")
                searched(page)
                expect(page.locator("#search-results .thumb img")).to_have_count(10, timeout=SLOW)
            else:
                opened(page)
                drop(page, PHOTOS / "cat.jpg", *([PHOTOS / "coffee.jpg"] if name == "classify" else []))
                page.click("#classify-go")
                classified(page, 2 if name == "classify" else 1)
                page.locator("#classify-results .how").scroll_into_view_if_needed()
            shot = Image.open(io.BytesIO(page.screenshot(full_page=name == "classify")))
            shot.convert("RGB").quantize(128).save(folder / f"page-{name}.png", optimize=True)
