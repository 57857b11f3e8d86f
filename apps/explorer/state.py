"""What is selected, and the evidence for it: parameters without any widget."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import param

from explorer.area import MOST, evenly, places_of
from explorer.catalog import BUNDLED, bundle_of, bundled_variants, find_runs, runs_root
from explorer.choices import (
    AFTER_LOADING,
    CAMERA,
    DAMAGES,
    LINKED,
    MAP_VARIABLES,
    NEAR,
    PAGES,
    PICTURES,
    TAPS,
    UNSET,
    describe,
)
from explorer.request import Request

if TYPE_CHECKING:  # the packages behind it take seconds to import: after the first paint
    from explorer.evidence import Evidence

__all__ = ["ExplorerState"]


class ExplorerState(param.Parameterized):
    """The selection of one session. `update` computes the evidence; selecting a place slices it."""

    dataset_name = param.Selector(
        objects=[], check_on_set=True, doc="Readings to look at.", label="Data"
    )
    run = param.Selector(
        objects=[""], default="", doc="Bundled weights or a run folder.", label="Run"
    )
    variant = param.Selector(
        objects=[""],
        default="",
        doc="The model with one part exchanged, trained anew.",
        label="Variant",
    )
    step = param.Integer(
        None, bounds=(0, None), allow_None=True, label="Forecast time",
        doc="Forecast origin as a step of the dataset; chosen by the page where it is None.",
    )  # fmt: skip
    node = param.Selector(objects=[""], default="", doc="Selected place.", label="Place")
    area = param.String(
        "",
        doc="A region by its name or a box in degrees, whose places are selected together.",
        label="Region",
    )
    segment = param.Integer(1, bounds=(1, 1), doc="Block of horizon steps.", label="Lead time")
    topk = param.Integer(
        None, bounds=(1, None), allow_None=True, label="k",
        doc="Sources (place and time step) kept per forecast; as trained where it is None.",
    )  # fmt: skip
    head = param.Selector(
        objects=["mean"],
        default="mean",
        doc="One of the model's parallel attentions, or their mean.",
        label="Head",
    )
    min_weight = param.Number(
        0.0, bounds=(0.0, 0.2), doc="Hide sources below this weight.", label="Smallest weight"
    )
    window = param.Boolean(
        True, doc="Whether near places may be sources in the last steps.", label="Local window"
    )
    silent_heads = param.ListSelector(
        [], objects=[], check_on_set=True, label="Silent heads",
        doc="Heads whose sources have no say.",
    )  # fmt: skip
    hidden = param.ListSelector(
        [], objects=[], check_on_set=True, label="Hidden places",
        doc="Places whose readings the model does not get.",
    )  # fmt: skip
    withheld = param.ListSelector(
        [], objects=[], check_on_set=True, label="Withheld steps",
        doc="Steps before the forecast whose readings the model does not get, 0 the newest.",
    )  # fmt: skip
    damage = param.Selector(
        objects=DAMAGES, default="", doc="What happens to all readings it sees.", label="Readings"
    )
    map_variable = param.Selector(
        objects=MAP_VARIABLES, default="forecast", doc="What the map shows.", label="Map"
    )
    tap = param.Selector(
        objects=list(TAPS), default=TAPS[0], doc="What a tap, or a box, on the map does."
    )
    picture = param.Selector(
        objects=list(PICTURES), default=PICTURES[0], doc="How an alignment is shown."
    )
    camera = param.String(
        "", regex=CAMERA, doc="From where the space-time cubes are seen; empty: from the south."
    )
    page = param.Selector(objects=list(PAGES), default=PAGES[0], doc="The page in sight.")
    other = param.Selector(
        objects=[""], default="", label="Compare with", doc="Another run of the same data."
    )
    theme = param.Selector(objects=["light", "dark"], default="light", doc="Appearance.")
    evidence = param.Parameter(None, doc="What is shown now; None before the first update.")
    compared = param.Parameter(None, doc="The same of the other run; None before a comparison.")
    problem = param.String("", doc="What went wrong and what to do; empty where nothing did.")
    notice = param.String("", doc="A word about the selection, for example a link that missed.")

    def __init__(self, *, root: Path | None = None, **params: Any) -> None:
        self.root = runs_root() if root is None else Path(root)
        self._later: dict[str, Any] = {}
        self._region: tuple[Any, str, list[str]] = (None, "", [])  # found, and for what
        super().__init__(**params)

    def connect(self, names: Mapping[str, str], query: Mapping[str, Any] | None = None) -> None:
        """Offer the datasets, then choose what a link asks for.

        Args:
            names: Titles of the datasets by name; the first is the default.
            query: Parameters of a link, by their name in the address; what does not fit is left
                out and named in `notice`.
        """
        complaints: list[str] = []
        self.offer(names)
        wanted = {
            name: query[key] for name, key in LINKED.items() if (query or {}).get(key) not in UNSET
        }
        self.dataset_name = next(iter(names))
        self._choose("dataset_name", wanted.pop("dataset_name", None), complaints)
        for name in ("run", "variant", "other"):
            self._choose(name, wanted.pop(name, None), complaints)
        self._later = {name: wanted.pop(name) for name in AFTER_LOADING if name in wanted}
        for name, value in wanted.items():
            self._choose(name, value, complaints)
        self.notice = " ".join(complaints)

    def offer(self, names: Mapping[str, str]) -> None:
        """Offer datasets, and keep the chosen one.

        Args:
            names: Titles of the datasets by name.
        """
        self.param.dataset_name.objects = dict(zip(names.values(), names, strict=True))

    def _choose(self, name: str, value: Any, complaints: list[str]) -> None:
        if value is None or value == getattr(self, name):
            return
        if name in ("head", "node", "area"):  # the address has numbers for ids of digits
            value = str(value)
        if isinstance(self.param[name], param.Boolean):
            value = {"true": True, "false": False}.get(str(value).lower(), value)
        try:
            self.param.update(**{name: value})
        except (ValueError, TypeError):
            now = getattr(self, name)
            complaints.append(
                f"The link asks for {LINKED[name]}={str(value)[:40]!r}, which is not there; "
                + (f"showing {LINKED[name]}={now!r}." if now not in UNSET else "left out.")
            )

    @param.depends("dataset_name", watch=True)
    def _restart(self) -> None:
        # Steps, sources and places of one dataset say nothing about another.
        self.param.update(step=None, topk=None, silent_heads=[], hidden=[], withheld=[], area="")
        self.refresh_runs()

    def refresh_runs(self) -> None:
        """Look for runs of the dataset again, and keep the chosen one if it is still there."""
        folders = [run for run in find_runs(self.root) if run.dataset == self.dataset_name]
        labels = {f"{run.name} ({run.variant})": run.name for run in folders if run.has_weights}
        if bundled_variants(self.dataset_name):
            labels = {"Bundled weights": BUNDLED, **labels}
        if self.dataset_name.endswith((".nc", ".zarr")):  # one of the user's own
            from explorer.opened import runs_that_fit

            labels |= runs_that_fit(self.dataset_name, self.root)
        self.param.run.objects = labels or {"no trained run": ""}
        if self.run not in self.param.run.objects:
            self.run = next(iter(labels.values()), "")
        self._offer_variants()

    @param.depends("run", watch=True)
    def _offer_variants(self) -> None:
        if bundle := bundle_of(self.run, self.dataset_name):
            variants = bundled_variants(bundle)
        else:
            variants = [run.variant for run in find_runs(self.root) if run.name == self.run] or [""]
        self.param.variant.objects = variants
        if self.variant not in variants:
            self.variant = variants[0]
        self._offer_others()

    @param.depends("variant", watch=True)
    def _offer_others(self) -> None:
        runs = {}
        for label, run in self.param.run.objects.items():
            bundle = bundle_of(run, self.dataset_name)
            for variant in bundled_variants(bundle) if bundle else [""]:
                name = self.request().of(run, variant).name
                runs[f"{label}, {variant}" if variant else label] = name
        others = {
            label: name for label, name in runs.items() if name not in ("", self.request().name)
        }
        self.param.other.objects = others or {"no other run": ""}
        if self.other not in others.values():
            self.other = next(iter(others.values()), "")

    def variants_of_bundle(self) -> list[str]:
        """List the variants of the dataset that come with the package."""
        return bundled_variants(self.dataset_name)

    def request(self) -> Request:
        """Give what forecast and alignment are to be computed for."""
        return Request(
            dataset=self.dataset_name,
            run=self.run,
            variant=self.variant,
            root=self.root,
            step=self.step,
            topk=self.topk,
            window=self.window,
            silent_heads=tuple(map(int, self.silent_heads)),
            hidden=tuple(self.hidden),
            withheld=tuple(map(int, self.withheld)),
            damage=self.damage,
            node=self.node,
            area=self.area,
        )

    def request_of_other(self) -> Request | None:
        """Give what the other run is to be asked for; None where nothing is compared."""
        if self.page != "Compare" or not self.other:
            return None
        return self.request().of(*self.other.split("/"))

    def switch_back(self) -> None:
        """Undo every live switch at once."""
        switches = {"topk": None, "window": True, "damage": ""}
        self.param.update(**switches, silent_heads=[], hidden=[], withheld=[])

    def hide(self, places: Sequence[str]) -> None:
        """Take the readings of some places from the model; give them back if it has none of them.

        Args:
            places: Ids.
        """
        hidden = list(dict.fromkeys([*self.hidden, *places]))
        if len(hidden) == len(self.hidden):
            hidden = [place for place in hidden if place not in set(places)]
        if len(hidden) > MOST:
            self.notice = f"At most {MOST} places can be hidden; got {len(hidden)}. Choose fewer."
        else:
            self.param.update(hidden=hidden, notice="")

    def places_around(self) -> list[str]:
        """List the selected place and those that are nearest to it."""
        from sttrans_core.space.geometry import nearest_nodes

        if self.evidence is None:
            return []
        dataset = self.evidence.dataset
        where = (dataset[name].values for name in ("latitude", "longitude"))
        nodes = dataset["node"].values
        row = nodes.tolist().index(self.node)
        return nodes[nearest_nodes(*where, count=NEAR + 1)[row]].tolist()

    @property
    def region(self) -> list[str]:
        """All places of the selected region; none where there is no region."""
        if self.evidence is None or not self.area:
            return []
        dataset = self.evidence.dataset
        if self._region[0] is not dataset or self._region[1] != self.area:
            self._region = dataset, self.area, places_of(dataset, self.area, self.evidence.zones)
        return self._region[2]

    @property
    def targets(self) -> list[str]:
        """The places whose forecast is explained: the selected one, or those of the region."""
        if self.evidence is None:
            return []
        return evenly(self.region) or [self.node]

    def needs_update(self) -> bool:
        """Say whether what is shown is of another request than what is selected."""
        shown, other = self.evidence, self.request_of_other()
        if shown is None or not shown.answers(self.request()):
            return True
        return other is not None and (self.compared is None or not self.compared.answers(other))

    def shows_another_dataset(self) -> bool:
        """Say whether what is shown is of another dataset than the chosen one."""
        return self.evidence is not None and self.evidence.request.dataset != self.dataset_name

    def show(self, evidence: "Evidence", compared: "Evidence | None" = None) -> None:
        """Take new evidence and fit the ranges of the selection to it.

        Args:
            evidence: Computed for a request of this state.
            compared: Likewise for the other run; None where nothing is compared.
        """
        from explorer.evidence import default_node

        complaints: list[str] = []
        nodes = evidence.dataset["node"].values.tolist()
        changes: dict[str, Any] = {"step": evidence.request.step, "topk": evidence.request.topk}
        for name, shown in changes.items():
            if (asked := getattr(self, name)) not in (None, shown):
                instead = "what was trained" if shown is None else shown
                complaints.append(
                    f"{self.param[name].label} {asked} is beyond what there is; showing {instead}."
                )
        with param.parameterized.batch_call_watchers(self):
            self.param.node.objects = self.param.hidden.objects = nodes
            self.param.segment.bounds = (1, evidence.num_segments)
            heads = ["mean", *map(str, range(evidence.num_heads))]
            self.param.head.objects = heads
            self.param.silent_heads.objects = heads[1:]
            history = 1 + evidence.first_step
            self.param.withheld.objects = [str(step) for step in range(history)]
            changes |= _switches(evidence.request)
            changes["segment"] = min(self.segment, evidence.num_segments)
            changes["head"] = self.head if self.head in heads else "mean"
            changes["node"] = self.node if self.node in nodes else default_node(evidence)
            self.param.update(**changes)
            for name in AFTER_LOADING:
                self._choose(name, self._later.pop(name, None), complaints)
            if self.area and not places_of(evidence.dataset, self.area, evidence.zones):
                complaints.append(f"There is no place in the region {self.area[:40]!r}.")
                self.area = ""
            self.param.update(evidence=evidence, compared=compared, problem="")
        if complaints:
            self.notice = " ".join([self.notice, *complaints]).strip()

    def go_back(self) -> None:
        """Select what is shown again, after something else could not be."""
        if self.evidence is not None:
            shown = self.evidence.request
            self.dataset_name = shown.dataset
            for name in ("run", "variant", "step", "topk", "damage"):
                setattr(self, name, getattr(shown, name))
            self.param.update(**_switches(shown))
            if self.page == "Compare" and self.compared is None:
                self.page = PAGES[0]
            elif self.compared is not None:
                self.other = self.compared.request.name
            if self.run in ("", *_present(self.root)):
                self.refresh_runs()  # what was asked for may be gone

    def compute(self) -> "tuple[Evidence, Evidence | None]":
        """Compute what is to be shown, without changing anything.

        Returns:
            The evidence for the present request, and that of the other run where one is compared.

        Raises:
            ValueError: A run or data cannot be read, or do not fit.
            FileNotFoundError: The data is not on this machine.
        """
        from explorer.evidence import load_evidence

        evidence, asked, other = self.evidence, self.request(), self.request_of_other()
        if evidence is None or not evidence.answers(asked):
            evidence = load_evidence(asked, evidence)
        if other is None:
            return evidence, None
        compared, other = self.compared, replace(other, step=evidence.request.step)
        if compared is None or not compared.answers(other):
            compared = load_evidence(other, compared)
        return evidence, compared

    def update(self) -> None:
        """Compute and show the evidence; a problem becomes a message and keeps what was shown."""
        try:
            found = self.compute()
        except (ValueError, OSError, RuntimeError, KeyError) as error:
            self.problem = describe(error)
            self.go_back()
            return
        self.show(*found)


def _present(root: Path) -> list[str]:
    return [BUNDLED, *(run.name for run in find_runs(root) if run.has_weights)]


def _switches(request: Request) -> dict[str, Any]:
    """Give those switches of a request whose ranges depend on what is shown."""
    return {
        "window": request.window,
        "withheld": [str(step) for step in request.withheld],
        "hidden": list(request.hidden),
        "silent_heads": [str(head) for head in request.silent_heads],
    }
