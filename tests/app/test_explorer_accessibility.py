"""What a screen reader and weak eyes need, on every page of the explorer, light and dark."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from reader import PAGES

pytestmark = [pytest.mark.ui, pytest.mark.slow]

# Of the widgets' own library, out of reach from here.
NOT_OURS = {
    "aria-progressbar-name": "the page's loading indicator, and that of a training, have no name",
    "aria-prohibited-attr": "the icons that tell a widget's description are labelled spans",
    "button-name": "the arrows of a field for numbers; the field itself has a name and takes keys",
    "scrollable-region-focusable": "the page itself, which the keyboard scrolls all the same",
}
LOW = ("minor", "moderate")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_a_serious_finding(explorer, theme):
    explorer.home()
    if theme == "dark":
        explorer.page.get_by_role("button", name="Toggle theme").click()
    found = {}
    for name in PAGES:
        explorer.turn_to(name)
        explorer.page.wait_for_timeout(1500)  # colours fade over
        for finding in Axe().run(explorer.page).response["violations"]:
            if finding["impact"] not in LOW and finding["id"] not in NOT_OURS:
                places = [node["html"][:200] for node in finding["nodes"][:3]]
                found[name, finding["id"]] = places
    assert found == {}
