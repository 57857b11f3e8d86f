"""The guards of the browser tests fire: a dead app, a console error, a request that leaves."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.ui

LIVING = "import panel as pn\npn.extension()\npn.pane.Markdown('# It lives').servable()\n"
DYING = "import panel as pn\nraise ValueError('broken on purpose')\n"


@pytest.mark.slow
def test_a_living_app_is_served_with_roots(serve_app, guarded_page, tmp_path: Path):
    app = tmp_path / "living.py"
    app.write_text(LIVING)
    served = serve_app(app)
    guarded_page.goto(served.url)
    guarded_page.get_by_text("It lives").wait_for()


@pytest.mark.slow
def test_a_crashed_app_is_a_failure_with_its_traceback(serve_app, tmp_path: Path):
    app = tmp_path / "dying.py"
    app.write_text(DYING)
    # The server itself answers 200 for this one.
    with pytest.raises(pytest.fail.Exception, match="broken on purpose"):
        serve_app(app)


def test_console_errors_are_noted(page, page_guard):
    guard = page_guard(page)
    page.set_content("<script>console.error('something broke')</script>")
    page.evaluate("() => { setTimeout(() => { throw new Error('thrown late') }, 0) }")
    page.wait_for_timeout(200)
    with pytest.raises(pytest.fail.Exception, match=r"something broke[\s\S]*thrown late"):
        guard.check()


def test_requests_that_leave_localhost_are_noted(page, page_guard):
    page.route("**/*", lambda route: route.abort())
    guard = page_guard(page)
    page.set_content("<img src='https://elsewhere.example/tile.png'>")
    page.wait_for_timeout(200)
    with pytest.raises(pytest.fail.Exception, match=r"outside request: https://elsewhere\.example"):
        guard.check()


def test_a_quiet_page_passes(page, page_guard):
    guard = page_guard(page)
    page.set_content("<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='><p>quiet</p>")
    guard.check()
    assert guard.problems == []
