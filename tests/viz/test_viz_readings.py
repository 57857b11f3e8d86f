"""Pictures of readings over their whole period: gaps stay gaps, long series become means."""

import holoviews as hv
import numpy as np
import pytest
from builders import build_dataset

from stviz.readings import plot_readings


def lines(dataset, nodes) -> list[np.ndarray]:
    overlay = plot_readings(dataset, nodes=nodes)
    return [curve.dimension_values("value") for curve in overlay]


def test_short_series_are_drawn_as_they_are():
    dataset = build_dataset(num_nodes=3, num_steps=100)
    first, last = dataset["node"].values[[0, 2]]
    drawn = lines(dataset, [last, first])
    expected = dataset["target"].sel(node=[last, first]).values.T
    np.testing.assert_array_equal(drawn, expected.astype(float))
    assert np.isnan(drawn[1][88:94]).all()


def test_long_series_are_drawn_as_means_of_what_was_read():
    dataset = build_dataset(num_nodes=2, num_steps=3002)
    dataset["target"].values[:] = np.arange(3002)[:, None]
    dataset["target"].values[3:6, 0] = np.nan
    dataset["target"].values[6, 0] = np.nan
    (drawn,) = lines(dataset, [dataset["node"].values[0]])
    # 3002 readings as at most 1500 points: means of three, the last two left out.
    assert len(drawn) == 1000
    np.testing.assert_array_equal(drawn[:4], [1.0, np.nan, 7.5, 10.0])
    dataset.attrs["quantity"] = "black carbon of PM2.5"
    overlay = plot_readings(dataset, nodes=dataset["node"].values.tolist())
    figure = hv.render(overlay, backend="bokeh")
    assert figure.title.text == "Black carbon of PM2.5 at 2 places"
    assert any("means of 3 readings" in getattr(line, "text", "") for line in figure.above)


def test_names_are_drawn_as_they_are():
    names = ["<b>@y</b>", "{0}", "$$x$$"]
    figure = hv.render(
        plot_readings(build_dataset(num_nodes=3, nodes=names), nodes=names), backend="bokeh"
    )
    assert [item.label.value for item in figure.legend[0].items] == names


def test_a_place_must_be_there():
    with pytest.raises(ValueError, match=r"node must be one of the labels .* got .nowhere."):
        plot_readings(build_dataset(num_nodes=2), nodes=["nowhere"])
