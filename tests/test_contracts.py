"""House rules that hold for every module: imports, sizes, docstrings, axis names."""

import ast
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted([*ROOT.glob("sttrans_core/**/*.py"), *ROOT.glob("stviz/**/*.py")])
APPS = sorted(ROOT.glob("apps/**/*.py"))

# The one word for each axis; a new word belongs here only if none of these means the same.
GLOSSARY = {
    "batch": "windows of a batch",
    "history": "observed steps, oldest first",
    "horizon": "forecast steps, first to last",
    "node": "places",
    "channel": "features of a token, or what is read and forecast of a place",
    "quantity": "what is forecast of a place, beside the features of a token",
    "state": "features of all that is known of a place, wider than a token",
    "head": "attention heads",
    "query": "target nodes of forecast tokens",
    "segment": "blocks of horizon steps, one forecast token each",
    "source": "encoder tokens: places x observed steps",
    "candidate": "sources that a selection chooses from",
    "topk": "kept sources of a query",
    "neighbour": "nearest nodes, nearest first",
    "direction": "the eight of the compass, or a place itself and these",
    "layer": "layers of a network",
    "relation": "classes of relative place (distance ring and direction)",
    "group": "groups of near targets, which share candidates",
    "block": "blocks of near nodes, which are screened as one",
    "member": "nodes of a group or block",
    "pair": "pairs of places that traffic passes one after the other",
    "base": "basis projections of the values",
    "ring": "distances that relation features are centred on",
    "feature": "features of a relation",
    "steps": "observed or forecast steps, where both may come",
    "lag": "values of earlier days at a step, and flags of the observed",
    "term": "waves of the year and the day that a climatology is made of",
    "dim": "width of a query or key",
    "value_dim": "width of a value",
    "relation_dim": "width of an encoded relation",
}
DRAWING = {"bokeh", "folium", "holoviews", "ipywidgets", "matplotlib", "panel", "plotly"}
NETWORK = {"aiohttp", "httpx", "pooch", "requests", "urllib3"}
SECTIONS = ["Args", "Attributes", "Returns", "Yields", "Raises", "Source", "Example"]
ANNOTATION_TYPES = {"Float", "Float32", "Float64", "Int", "Int32", "Int64", "Bool", "Shaped", "Num"}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


every_module = pytest.mark.parametrize("path", MODULES, ids=_name)


def _lint_imports(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(
        [*command, "--config", str(config)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_dependencies_point_one_way():
    answer = _lint_imports(ROOT, ROOT / "pyproject.toml")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "0 broken" in answer.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("sttrans_core/forecaster.py", "import stviz", "Drawing builds on the core"),
        ("sttrans_core/forecaster.py", "import panel", "The core imports no drawing library"),
        ("stviz/maps.py", "from sttrans_core import training", "Drawing knows the labelled"),
        ("stviz/maps.py", "from sttrans_core import schema, alignment", None),
    ],
)
def test_the_import_rules_fire(tmp_path, module, line, broken):
    for name in ("sttrans_core", "stviz"):
        (tmp_path / name).mkdir()
        for part in ("__init__", "schema", "alignment", "training", "forecaster", "maps"):
            (tmp_path / name / f"{part}.py").touch()
    (tmp_path / module).write_text(line + "\n")
    answer = _lint_imports(tmp_path, ROOT / "pyproject.toml")
    kept = re.search(r"(\d) kept, (\d) broken", answer.stdout)
    assert kept is not None, answer.stdout + answer.stderr
    if broken is None:
        assert kept.groups() == ("3", "0")
    else:
        assert kept.group(2) != "0"
        assert re.search(rf"{broken}.* BROKEN", answer.stdout)


def test_importing_the_core_is_light():
    # Processor time, so that a busy machine does not count; the rest of the imports beside.
    script = (
        "import sys, time; begin = time.process_time(); import sttrans_core; "
        "print(time.process_time() - begin, *sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seconds, *modules = answer.stdout.split()
    imported = {name.split(".")[0] for name in modules}
    assert imported & DRAWING == set()
    assert imported & NETWORK == set()
    assert float(seconds) < 5  # 3 s is the goal; this still catches one heavy import


@pytest.mark.parametrize("path", APPS, ids=_name)
def test_apps_import_installed_packages_and_their_own_parts(path):
    names = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or "").split(".")[0])
    own = {folder.name for folder in (ROOT / "apps").iterdir() if folder.is_dir()}
    unknown = {n for n in names - own if n.startswith(".") or importlib.util.find_spec(n) is None}
    # A served file is no package: relative imports and the name of its folder do not work there.
    assert unknown | (names & {"apps", "notebooks", "tests"}) == set()


@pytest.mark.parametrize("path", [*MODULES, *APPS], ids=_name)
def test_modules_fit_into_a_sitting(path):
    lines = len(path.read_text().splitlines())
    assert lines <= (300 if path.parent == ROOT / "apps" else 400)


def test_the_median_module_is_short():
    sizes = sorted(len(path.read_text().splitlines()) for path in MODULES)
    assert sizes[len(sizes) // 2] <= 200


@every_module
def test_exported_names_exist_once(path):
    tree = _tree(path)
    defined = {
        name.asname or name.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    public = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        # Commands are registered by their decorator.
        and (isinstance(node, ast.ClassDef) or not node.decorator_list)
    ]
    exported = _exported(tree)
    if exported is None:
        assert public == [], "a module with public names lists them in __all__"
        return
    assert len(exported) == len(set(exported))
    if "__getattr__" not in defined:  # a package that imports on first use has its own test
        assert set(exported) - defined == set()
    assert set(public) - set(exported) == set(), "a public name is in __all__ or starts with _"


def _sections(doc: str) -> list[str]:
    found = re.findall(r"^([A-Z][a-z]+):(?:\s|$)", inspect.cleandoc(doc), flags=re.MULTILINE)
    return [
        name.replace("Examples", "Example") for name in found if name in {*SECTIONS, "Examples"}
    ]


def _documented(path: Path) -> list[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """List what a module exports and defines, with the public methods of its classes."""
    tree = _tree(path)
    exported = set(_exported(tree) or ())
    found: list[tuple[str, ast.FunctionDef | ast.ClassDef]] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in exported:
            found.append((node.name, node))
            members = node.body if isinstance(node, ast.ClassDef) else ()
            found += [
                (f"{node.name}.{member.name}", member)
                for member in members
                if isinstance(member, ast.FunctionDef) and not member.name.startswith("_")
            ]
    return found


def _docstring_faults(name: str, node: ast.FunctionDef | ast.ClassDef) -> list[str]:
    doc = ast.get_docstring(node)
    if not doc:
        return [f"{name} has no docstring"]
    faults = []
    sections = _sections(doc)
    if sections != sorted(sections, key=SECTIONS.index):
        faults.append(f"{name} has its sections in the order {sections}")
    if isinstance(node, ast.FunctionDef):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        bare = [a.arg for a in arguments if a.annotation is None and a.arg not in {"self", "cls"}]
        if bare:
            faults.append(f"{name} does not annotate {', '.join(bare)}")
    if isinstance(node, ast.FunctionDef) and "." not in name:
        if arguments and "Args" not in sections:
            faults.append(f"{name} does not describe its arguments")
        gives = node.returns is not None and ast.unparse(node.returns) not in {"None", "NoReturn"}
        if gives and not {"Returns", "Yields"} & set(sections):
            faults.append(f"{name} does not say what it returns")
    return faults


@every_module
def test_public_names_are_documented_in_house_order(path):
    assert ast.get_docstring(_tree(path)), "a module starts with a line saying what it holds"
    documented = _documented(path)
    if path.parent.name == "kernels":  # compiled: the shapes of their arrays stand in a comment
        assert all(ast.get_docstring(node) for _, node in documented)
        return
    assert [fault for name, node in documented for fault in _docstring_faults(name, node)] == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def f(x: A): pass", "f has no docstring"),
        ("def f(x: A):\n    '''Do.'''", "f does not describe its arguments"),
        ("def f(x):\n    '''Do.\n\n    Args:\n        x: A.\n    '''", "f does not annotate x"),
        ("def f() -> int:\n    '''Do.'''", "f does not say what it returns"),
        (
            "def f(x: A):\n    '''Do.\n\n    Raises:\n        A.\n\n    Args:\n        x.\n    '''",
            "f has its sections in the order ['Raises', 'Args']",
        ),
    ],
)
def test_the_docstring_rule_fires(source, fault):
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    assert _docstring_faults("f", node) == [fault]


def _shape_words(tree: ast.Module) -> set[str]:
    """Collect the axis words of every jaxtyping annotation."""
    words: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Tuple):
            continue
        kind = ast.unparse(node.value).split(".")[-1]
        shape = node.slice.elts[-1]
        is_shape = isinstance(shape, ast.Constant) and isinstance(shape.value, str)
        if kind in ANNOTATION_TYPES and is_shape:
            for part in str(shape.value).split():
                words |= set(re.findall(r"[a-z_]{2,}|[A-Za-z]", part.lstrip("*#?_")))
    return words


@every_module
def test_axes_come_from_the_glossary(path):
    assert _shape_words(_tree(path)) - set(GLOSSARY) == set()


def test_the_glossary_rule_sees_every_form():
    source = 'def f(x: Float[Tensor, "batch *extra 2 #node ... horizon-1"], y: Int[A, " B"]): ...'
    # Letters are for comments: the words are spelled out in annotations.
    assert _shape_words(ast.parse(source)) == {"batch", "extra", "node", "horizon", "B"}


@every_module
def test_annotations_are_evaluated(path):
    # Postponed annotations would hide shapes from the checks that the tests turn on.
    assert "from __future__ import annotations" not in path.read_text()
