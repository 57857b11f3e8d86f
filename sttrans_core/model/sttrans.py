"""ST-Trans: embedding, encoder, alignment and fusion layers, head; readable top to bottom."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sttrans_core.alignment import (
    Alignment,
    Selection,
    SpatioTemporalAlignment,
    whole_groups,
)
from sttrans_core.config import ModelConfig
from sttrans_core.data.windows import Batch
from sttrans_core.model.anomalies import StandardizedAnomalies
from sttrans_core.model.embedding import CalendarEmbedding, SourceEmbedding
from sttrans_core.model.encoder import EncoderLayer
from sttrans_core.model.fusion import DynamicValues, SpatioTemporalFusion, StaticValues
from sttrans_core.model.outlook import Outlook
from sttrans_core.model.starting_point import StartingPoint
from sttrans_core.model.surroundings import Surroundings
from sttrans_core.space.relation import Geometry

__all__ = ["DataShape", "DecoderLayer", "Output", "STTrans", "forecast_of"]


@dataclass(frozen=True, kw_only=True)
class DataShape:
    """What the model must know of the data it is built for.

    Args:
        latitude: Degrees, one per node.
        longitude: Degrees, one per node.
        history_steps: Steps that a forecast sees.
        horizon_steps: Steps that are forecast.
        steps_per_day: Slots of the time of day.
        has_weekday: Whether the training period covers weeks.
        has_season: Whether it covers most of a year, so that departures from the climatology are
            forecast.
        num_channels: Channels that are forecast.
        num_inputs: Channels of a window's values.
        num_lags: Earlier readings of each step that a window sees.
        downstream: Neighbouring nodes (from, to) in the direction of travel, (pair, 2), if known.
    """

    latitude: np.ndarray
    longitude: np.ndarray
    history_steps: int
    horizon_steps: int
    steps_per_day: int
    has_weekday: bool
    has_season: bool = False
    num_channels: int = 1
    num_inputs: int = 1
    num_lags: int = 0
    downstream: np.ndarray | None = None


class Output(NamedTuple):
    """What the model gives for some windows.

    Args:
        forecast: Z-scores of every horizon step and query node.
        alignments: One per decoder layer, outermost last; none where they were not asked for.
        aligned: The forecast that the values of the aligned sources make without all else; none
            without `alignment_loss`.
    """

    forecast: Float[Tensor, "batch horizon query channel"]
    alignments: list[Alignment]
    aligned: Float[Tensor, "batch horizon query channel"] | None


class DecoderLayer(nn.Module):
    """One alignment and one fusion.

    Args:
        config: The model's configuration.
        history_steps: Steps of the history.
        selection: Which sources are candidates and how many are kept.
    """

    def __init__(self, config: ModelConfig, *, history_steps: int, selection: Selection) -> None:
        super().__init__()
        width, heads = config.width, config.num_heads
        self.values = (
            DynamicValues(width, heads, num_bases=config.num_bases)
            if config.value == "dynamic"
            else StaticValues(width, heads)
        )
        self.alignment = (
            None
            if config.sources == "own"
            else SpatioTemporalAlignment(
                width,
                heads,
                history_steps=history_steps,
                selection=selection,
                position=config.position,
                relation_dim=config.relation_dim,
            )
        )
        all_segments = config.num_segments * width
        self.query = nn.Linear(config.state_width, all_segments) if self.alignment else None
        self.fusion = SpatioTemporalFusion(
            config.state_width,
            all_segments,
            residual=config.residual,
            dropout=config.dropout,
        )

    def forward(
        self,
        state: Float[Tensor, "batch query state"],
        source: Float[Tensor, "batch node history channel"],
        reading: Float[Tensor, "batch node history channel"],
        *,
        when: Float[Tensor, "batch segment channel"],
        place: Float[Tensor, "query segment channel"] | None,
        observed: Bool[Tensor, "batch node history"],
        geometry: Geometry,
        query_nodes: Int[Tensor, " query"] | None,
        selection: Selection | None,
        need_alignment: bool,
    ) -> tuple[
        Float[Tensor, "batch query state"],
        Float[Tensor, "batch query segment channel"],
        Alignment | None,
    ]:
        """Align, aggregate and fuse; give the new state, what was aggregated, and the alignment."""
        values = self.values(reading)
        if self.alignment is None or self.query is None or place is None:
            own, alignment = _own_history(values, observed, query_nodes), None
            aggregated = own[:, :, None].expand(-1, -1, when.shape[1], -1)
        else:
            query = self.query(state).unflatten(2, (place.shape[1], -1)) + when[:, None] + place
            aggregated, alignment = self.alignment(
                query,
                source,
                values,
                place=place,
                observed=observed,
                geometry=geometry,
                query_nodes=query_nodes,
                selection=selection,
                need_alignment=need_alignment,
            )
        return self.fusion(state, aggregated), aggregated, alignment


class STTrans(nn.Module):
    """Spatio-temporal transformer whose cross-attention is an alignment and a fusion.

    Args:
        config: The model's configuration.
        shape: What it must know of the data.

    Source: Cai, "Improvement of spatio-temporal prediction model" (ST-Trans).
    """

    def __init__(self, config: ModelConfig, shape: DataShape) -> None:
        super().__init__()
        self.config, self.history_steps = config, shape.history_steps
        self.num_channels = shape.num_channels
        num_nodes, width, segments = len(shape.latitude), config.width, config.num_segments
        self.selection = _selection(config, shape.history_steps, num_nodes)
        self.geometry = Geometry(
            shape.latitude,
            shape.longitude,
            num_neighbours=1 + config.window_nodes,
            downstream=shape.downstream,
        )
        self.calendar = CalendarEmbedding(
            width,
            steps_per_day=shape.steps_per_day,
            has_weekday=shape.has_weekday,
        )
        self.anomalies = StandardizedAnomalies(
            num_nodes=num_nodes,
            num_channels=shape.num_channels,
            history_steps=shape.history_steps,
            steps_per_day=shape.steps_per_day,
            has_season=shape.has_season,
        )
        self.embedding = SourceEmbedding(
            width,
            num_nodes=num_nodes,
            num_inputs=shape.num_inputs,
            history_steps=shape.history_steps,
            learned_steps=config.position == "learned",
        )
        self.encoder = nn.ModuleList(
            EncoderLayer(width, config.num_heads, dropout=config.dropout)
            for _ in range(config.num_encoder_layers)
        )
        self.surroundings = (
            Surroundings(
                width,
                geometry=self.geometry,
                history_steps=shape.history_steps,
                num_layers=config.num_surroundings_layers,
                dropout=config.dropout,
            )
            if config.num_surroundings_layers
            else None
        )
        num_steps = shape.history_steps + shape.horizon_steps
        self.outlook = Outlook(
            width,
            config.state_width,
            num_nodes=num_nodes,
            history_steps=shape.history_steps,
            num_earlier=2 * shape.num_lags * shape.num_channels * num_steps,
            has_surroundings=self.surroundings is not None,
            dropout=config.dropout,
        )
        self.target = self.segment = None
        if config.sources != "own":
            self.target = nn.Parameter(torch.randn(num_nodes, width) * 0.5)
            self.segment = nn.Parameter(torch.randn(segments, width) * 0.5)
        self.decoder = nn.ModuleList(
            DecoderLayer(config, history_steps=shape.history_steps, selection=self.selection)
            for _ in range(config.num_decoder_layers)
        )
        self.start = (
            StartingPoint(
                config.state_width,
                num_lags=shape.num_lags,
                horizon_steps=shape.horizon_steps,
                num_channels=shape.num_channels,
            )
            if shape.num_lags
            else None
        )
        num_outputs = shape.horizon_steps * shape.num_channels
        self.head = nn.Linear(config.state_width, num_outputs)
        has_loss = config.alignment_loss and config.sources != "own"
        self.aligned_head = nn.Linear(width, num_outputs // segments) if has_loss else None

    def forward(
        self,
        batch: Batch,
        *,
        query_nodes: Int[Tensor, " query"] | None = None,
        selection: Selection | None = None,
        need_alignment: bool = False,
    ) -> Output:
        """Forecast every horizon step of every query node.

        Args:
            batch: Windows.
            query_nodes: Nodes to forecast; all where it is None.
            selection: Another selection of sources than the trained one.
            need_alignment: Also return the alignment of each decoder layer.

        Returns:
            The forecast, the alignments, and what the aligned sources forecast alone.
        """
        usual = self.anomalies.usual(batch)  # (B, T + P, N, C)
        batch = self.anomalies(batch, usual)
        asked = query_nodes
        if query_nodes is not None:
            query_nodes = whole_groups(self.geometry, selection or self.selection, query_nodes)
        calendar = self.calendar(batch)  # (B, T + P, D)
        past, future = calendar[:, : self.history_steps], calendar[:, self.history_steps :]
        observed = batch.observed.transpose(1, 2).contiguous()  # (B, N, T): a node's steps in a row
        reading = self.embedding(batch, past, self.geometry.coordinates())  # (B, N, T, D)
        source = reading
        for layer in self.encoder:
            source = layer(source, observed=observed)
        place = None
        if self.target is not None and self.segment is not None:
            place = _of(query_nodes, self.target, dim=0)[:, None] + self.segment  # (Q, S, D)
        around = None
        if self.surroundings is not None:
            around = self.surroundings(source, self.outlook.place, future[:, 0])  # (B, N, D)
        state = self.outlook(
            _of(query_nodes, source, dim=1),
            future[:, 0],
            _of(query_nodes, self.outlook.place, dim=0),
            None if batch.earlier is None else _of(query_nodes, batch.earlier, dim=2),
            None if around is None else _of(query_nodes, around, dim=1),
        )  # (B, Q, state)
        when = future.unflatten(1, (self.config.num_segments, -1)).mean(2)  # (B, S, D)
        alignments, aggregated = [], state
        for layer in self.decoder:
            state, aggregated, alignment = layer(
                state,
                source,
                reading,
                when=when,
                place=place,
                observed=observed,
                geometry=self.geometry,
                query_nodes=query_nodes,
                selection=selection,
                need_alignment=need_alignment,
            )
            alignments += [alignment] if alignment is not None else []
        if asked is not None and query_nodes is not asked:
            rows = (query_nodes == asked[:, None]).int().argmax(1)
            state, alignments = state[:, rows], [each.rows(rows) for each in alignments]
            aggregated, query_nodes = aggregated[:, rows], asked
        steps = self._by_step(self.head(state))
        last = _of(query_nodes, self._last_observed(batch), dim=1)  # (B, Q, C)
        earlier = batch.earlier
        if earlier is not None:
            earlier = _of(query_nodes, earlier[:, self.history_steps :], dim=2)
        start = last[:, None] if self.start is None else self.start(state, last, earlier)
        spread = _of(query_nodes, self.anomalies.spread, dim=0)
        usual = _of(query_nodes, usual[:, self.history_steps :], dim=2)
        aligned = None
        if self.aligned_head is not None:
            aligned = usual + spread * self._by_step(self.aligned_head(aggregated).flatten(2))
        return Output(usual + spread * (start + steps), alignments, aligned)

    def _by_step(
        self, values: Float[Tensor, "batch query quantity"]
    ) -> Float[Tensor, "batch horizon query channel"]:
        return values.unflatten(2, (-1, self.num_channels)).transpose(1, 2)

    def _last_observed(self, batch: Batch) -> Float[Tensor, "batch node channel"]:
        """Give the newest observed anomaly; 0, what is usual, where there is none."""
        steps = torch.arange(1, self.history_steps + 1, device=batch.observed.device)
        newest = (batch.observed * steps[:, None]).argmax(1)  # (B, N)
        target = batch.values[..., : self.num_channels]
        newest = newest[:, None, :, None].expand(-1, 1, -1, self.num_channels)
        return target.gather(1, newest)[:, 0]


def _of(nodes: Int[Tensor, " query"] | None, values: Tensor, *, dim: int) -> Tensor:
    """Take some nodes along an axis; all where it is None."""
    return values if nodes is None else values.index_select(dim, nodes)


def forecast_of(
    model: nn.Module,
    batch: Batch,
    *,
    query_nodes: Int[Tensor, " query"] | None = None,
    selection: Selection | None = None,
) -> Float[Tensor, "batch horizon query channel"]:
    """Give the forecast alone, of our model or of a baseline.

    Args:
        model: An `STTrans`, or a baseline, which always forecasts every node.
        batch: Windows.
        query_nodes: Nodes to forecast; all where it is None.
        selection: Another selection of sources than the trained one, of our model only.

    Returns:
        The forecast in z-scores.
    """
    if isinstance(model, STTrans):
        return model(batch, query_nodes=query_nodes, selection=selection)[0]
    output = model(batch)
    forecast = output if isinstance(output, Tensor) else output[0]
    return forecast if query_nodes is None else forecast[:, :, query_nodes]


def _selection(config: ModelConfig, history_steps: int, num_nodes: int) -> Selection:
    """Turn the configured choices into the selection that the alignment applies."""
    others = num_nodes - 1
    topk = config.topk if config.sources == "topk" else None
    if config.sources != "own" and others < 1:
        raise ValueError(
            "An alignment needs at least 2 nodes; got 1. Use the variant no_alignment."
        )
    if topk is not None and topk > history_steps * others:
        raise ValueError(
            f"topk must be at most the number of sources; got topk={topk} with "
            f"{history_steps * others} sources ({history_steps} steps x {others} other nodes). "
            "Lower model.topk or raise data.history_steps."
        )
    return Selection(
        topk=topk,
        screening="exact" if config.sources == "dense" else config.screening,
        window=config.window,
        window_nodes=min(config.window_nodes, others),
        window_steps=config.window_steps,
        group_size=config.group_size,
        block_size=config.block_size,
        screened_blocks=config.screened_blocks,
    )


def _own_history(
    values: Float[Tensor, "batch node history head value_dim"],
    observed: Bool[Tensor, "batch node history"],
    query_nodes: Int[Tensor, " query"] | None,
) -> Float[Tensor, "batch query channel"]:
    """Mean value of each node's own observed steps (the ablation without alignment)."""
    share = observed / observed.sum(2, keepdim=True).clamp_min(1)
    own = torch.einsum("bnthv,bnt->bnhv", values, share.to(values.dtype)).flatten(2)
    return _of(query_nodes, own, dim=1)
