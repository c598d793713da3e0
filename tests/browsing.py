"""A real browser, for the tests of pages: a plugin of pytest's."""

import os

import pytest

from lanes import chromium, lane

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
PATIENCE_MS = 30_000


@pytest.fixture(autouse=True)
def _browser_counted(request):
    if "browser" in request.fixturenames:
        lane("browser")


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    """The file that the browser takes for its camera's picture."""
    return tmp_path_factory.mktemp("camera") / "camera.mjpeg"


@pytest.fixture(scope="module")
def browser(film):
    """One browser a file: while it is there its event loop runs in this thread, and no test there can have another."""
    lane("browser", count=False)
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)

    camera = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    ]
    with sync_playwright() as p:
        running = p.chromium.launch(
            executable_path=chromium(), headless=True, args=FLAGS + camera, env=dict(os.environ)
        )
        yield running
        running.close()


@pytest.fixture
def tab(browser):
    """Open a page of the browser; afterwards none may have had an error, or asked anything off this machine."""
    contexts, wrong = [], []

    def opened(url, **options):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda e: wrong.append(str(e)))
        page.on("request", lambda r: wrong.append(r.url) if not r.url.startswith(LOCAL) else None)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


LOCAL = ("http://127.0.0.1:", "https://127.0.0.1:", "data:", "blob:http://127.0.0.1:")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Keep what the browser showed when a test failed, in the folder that SATMETER_SHOTS names."""
    report = yield
    folder = os.environ.get("SATMETER_SHOTS")
    if folder and report.failed and report.when == "call" and "browser" in item.funcargs:
        for n, page in enumerate(p for c in item.funcargs["browser"].contexts for p in c.pages):
            page.screenshot(path=f"{folder}/{item.name}-{n}.png", full_page=True)
    return report
