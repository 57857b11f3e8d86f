"""What can be chosen on the page, by which name, and what a link to it restores."""

__all__ = [
    "AFTER_LOADING", "CAMERA", "DAMAGES", "LINKED", "MAP_VARIABLES", "NEAR", "PAGES", "PICTURES",
    "SWITCHES", "TAPS", "UNSET", "describe", "plain",
]  # fmt: skip

# Parameters that a link to the page restores, by their name in the address.
LINKED = {
    "dataset_name": "data",
    "run": "run",
    "variant": "variant",
    "step": "step",
    "node": "node",
    "area": "area",
    "segment": "segment",
    "topk": "k",
    "head": "head",
    "min_weight": "min",
    "window": "window",
    "silent_heads": "silent",
    "hidden": "hide",
    "withheld": "withhold",
    "damage": "damage",
    "map_variable": "map",
    "picture": "picture",
    "camera": "camera",
    "page": "page",
    "other": "with",
}
SWITCHES = ("topk", "window", "silent_heads", "hidden", "withheld", "damage")
UNSET = (None, "", "None")
AFTER_LOADING = ("node", "segment", "head", "silent_heads", "hidden", "withheld", "area")
MAP_VARIABLES = {
    "Forecast": "forecast",
    "Measured": "target",
    "Error": "error",
    "Band width": "width",
    "Change": "change",
}
DAMAGES = {
    "As measured": "",
    "A fifth missing": "missing",
    "Sensors out": "outage",
    "Noise, 10 dB": "noise",
}
PAGES = ("Explore", "Compare", "Train", "Your data", "About")
PICTURES = ("Space-time cube", "On the map", "Distance", "Delay", "Heads")
# Where the eye stands and what it looks at, three numbers each.
CAMERA = r"^$|^(-?\d{1,3}(\.\d{1,4})?(,(?!$)|$)){6}$"
TAPS = ("Select", "Hide")  # what a tap, or a box, on the map does
NEAR = 8  # places around the selected one that are hidden with it


def plain(text: str) -> str:
    """Write a text for an alert, which takes Markdown, so that it shows as it is.

    Args:
        text: Anything, such as the name of a file, which may look like a link or a picture.

    Returns:
        The text with all but letters, digits and spaces as HTML entities.
    """
    return "".join(each if each.isalnum() or each == " " else f"&#{ord(each)};" for each in text)


def describe(error: BaseException) -> str:
    """Turn an error into a message; those of the package already say what to do.

    Args:
        error: What was raised.

    Returns:
        One or two sentences.
    """
    if isinstance(error, ValueError | FileNotFoundError):
        return str(error)
    return f"{type(error).__name__}: {error}. Choose another run or data set, or start again."
