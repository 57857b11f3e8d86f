"""The gallery of the README: whole, and as its command writes it."""

import gallery
import pytest
from PIL import Image

import stviz

MOST_BYTES = 150_000
README = (gallery.ROOT / "README.md").read_text()
DRAWN = [name for name in stviz.__all__ if name.startswith(("plot_", "animate_", "folium_"))]


def test_every_picture_is_there():
    assert sorted(set(DRAWN) - set(gallery.CALLS)) == []
    for name, call in gallery.CALLS.items():
        assert call.startswith(f"{name}(")


def test_the_readme_has_what_the_command_writes():
    assert gallery.insert(README, gallery.CALLS) == README


def test_a_readme_without_its_marks_is_refused():
    with pytest.raises(ValueError, match=r"README.md must hold the lines"):
        gallery.insert("# No gallery", gallery.CALLS)


@pytest.mark.parametrize("name", gallery.CALLS)
def test_pictures_are_small_and_not_empty(name):
    path = gallery.FOLDER / f"{name}.png"
    assert path.stat().st_size < MOST_BYTES
    with Image.open(path) as image:
        width, height = image.size
        assert width <= gallery.WIDTH
        assert height > 80
        assert len(image.convert("RGB").getcolors(maxcolors=1 << 24)) > 8
