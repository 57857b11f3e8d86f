"""Colours: scales keep their ends and order, unknown themes are refused."""

import numpy as np
import pytest

from stviz.theme import THEMES, color_scale, get_theme, pick_colors, rgba


def brightness(color: str) -> float:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_a_scale_by_hand():
    assert color_scale(["#000000", "#ff0000"], count=3) == ["#000000", "#800000", "#ff0000"]


def test_values_take_their_colours():
    colors = pick_colors(
        [0, 10, 99, -5, np.nan], stops=["#000000", "#0000ff"], limits=(0, 10), missing="#123456"
    )
    assert colors == ["#000000", "#0000ff", "#0000ff", "#000000", "#123456"]


def test_opacity_by_hand():
    assert rgba("#ff8000", 0.5) == "rgba(255, 128, 0, 0.5)"


@pytest.mark.parametrize("name", THEMES)
def test_heavy_weights_stand_out_and_zero_error_does_not(name):
    theme = get_theme(name)
    paper = brightness(theme.paper)
    contrast = [abs(brightness(color) - paper) for color in theme.weight]
    assert contrast == sorted(contrast)
    middle = len(theme.error) // 2
    errors = [abs(brightness(color) - paper) for color in theme.error]
    assert min(errors) == errors[middle]
    assert abs(brightness(theme.text) - paper) > 150


def test_an_unknown_theme_is_refused():
    with pytest.raises(ValueError, match=r"theme must be one of light, dark; got 'pink'\. Pass"):
        get_theme("pink")
    assert get_theme(THEMES["dark"]) is THEMES["dark"]
