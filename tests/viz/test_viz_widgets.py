"""The alignment under controls: each change asks again; what fails is said in the box."""

import ipywidgets
import numpy as np
import pytest
from builders import build_alignment, build_dataset, build_forecast

import stviz


@pytest.fixture(scope="module")
def dataset():
    return build_dataset(num_nodes=10, num_steps=120)


@pytest.fixture(scope="module")
def forecast(dataset):
    return build_forecast(dataset)


@pytest.fixture
def asked():
    return []


@pytest.fixture
def box(dataset, forecast, asked):
    def align(*, time, node, topk):
        asked.append((str(time), node, topk))
        if topk == 13:
            raise ValueError("k must not be <b>13</b>")
        step = int(np.flatnonzero(dataset["time"].values == np.datetime64(time))[0])
        return build_alignment(dataset, step=step, nodes=[node], topk=topk)

    return stviz.alignment_widget(align, forecast=forecast, dataset=dataset, topk=8, max_topk=20)


def controls(box) -> dict[str, ipywidgets.Widget]:
    return {control.description: control for control in box.children[0].children}


def test_it_opens_on_the_first_sensor_and_the_last_origin(box, asked, forecast):
    _, message, cube, table = box.children
    assert asked == [("2012-03-07 08:10:00", "700000", 8)]
    assert message.value == ""
    assert "700000" in cube.layout.title.text
    assert table.value.count("<tr") == 1 + 8
    assert controls(box)["ahead"].options[1] == ("20\N{EN DASH}30 min ahead", 2)
    assert [number for _, number in controls(box)["head"].options] == [-1, 0, 1, 2]


def test_each_change_asks_again_once_and_shows_it(box, asked):
    cube = box.children[2]
    controls(box)["sensor"].value = "700026"
    assert asked[-1][1] == "700026"
    assert "700026" in cube.layout.title.text
    controls(box)["k"].value = 5
    assert asked[-1][2] == 5
    assert len(asked) == 3
    controls(box)["ahead"].value = 4
    assert "50\N{EN DASH}60 min ahead" in cube.layout.title.text
    controls(box)["head"].value = 2
    assert "head 2" in cube.layout.annotations[0].text


def test_what_fails_is_said_and_the_last_picture_stays(box):
    _, message, cube, table = box.children
    before = cube.layout.title.text, table.value
    controls(box)["k"].value = 13
    assert "k must not be &lt;b&gt;13&lt;/b&gt;" in message.value
    assert (cube.layout.title.text, table.value) == before
    controls(box)["k"].value = 12
    assert message.value == ""


def test_the_camera_stays_where_the_user_turned_it(box):
    cube = box.children[2]
    cube.layout.scene.camera.eye.x = 2.5
    controls(box)["sensor"].value = "700026"
    assert cube.layout.scene.camera.eye.x == 2.5


def test_first_choices_must_exist(dataset, forecast):
    def draw(**options):
        return stviz.alignment_widget(
            lambda **_: None, forecast=forecast, dataset=dataset, **options
        )

    with pytest.raises(ValueError, match=r"topk must be between 1 and max_topk; got topk=99"):
        draw(topk=99)
    with pytest.raises(ValueError, match=r"node must be one of .*; got 'x'\. Pass one of"):
        draw(node="x")
    with pytest.raises(ValueError, match=r"time must be one of .*; got '2000-01-01'\. Pass"):
        draw(time="2000-01-01")
