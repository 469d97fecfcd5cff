"""Charts as SVG, to be embedded; their colours are the page's own, so that both go dark together."""

from __future__ import annotations

import math
from functools import cache

import pandas as pd
import pygal
from markupsafe import Markup
from pygal.etree import etree
from pygal.style import Style

from robin_etl.core.columns import KINDS

TROUBLES = ("quarantined", "rejected", "waiting")

_MOST_LABELS = 6
_GUIDES = 4


def draw_bars(counts: pd.DataFrame) -> Markup | None:
    """Counts by label (the index) and name (the columns), as bars on each other; None without any."""
    if counts.empty or not counts.to_numpy().any():
        return None
    chart = pygal.StackedBar(
        style=_make_style(tuple(counts.columns)),
        js=[],
        width=860,
        height=280,
        spacing=12,
        margin=8,
        legend_at_bottom=True,
        legend_at_bottom_columns=len(counts.columns),
        legend_box_size=10,
        show_minor_x_labels=False,
        x_label_rotation=0,
        truncate_label=12,
        explicit_size=False,
        disable_xml_declaration=True,
        value_formatter=lambda value: f"{value:,.0f}",
    )
    chart.y_labels = _round_steps(int(counts.sum(axis=1).max()))
    labels = [str(label) for label in counts.index]
    chart.x_labels = labels
    chart.x_labels_major = labels[:: -(-len(labels) // _MOST_LABELS)]
    for name in counts.columns:
        chart.add(str(name), counts[name].tolist())
    drawing = chart.render_tree()
    for parent in list(drawing.iter()):
        for child in [one for one in parent if str(one.tag).endswith("script")]:
            parent.remove(child)  # it would set up tooltips, which are not there
    return Markup(etree.tostring(drawing, encoding="unicode"))  # noqa: S704 (pygal escapes what it draws)


def _round_steps(top: int) -> list[int]:
    """About so many round numbers from 0 up to `top` or a little over it."""
    rough = max(top / _GUIDES, 1)
    unit = 10 ** int(math.log10(rough))
    step = unit * min(many for many in (1, 2, 5, 10) if unit * many >= rough)
    return list(range(0, top + step, step))


@cache
def _make_style(names: tuple[str, ...]) -> Style:
    known = {*KINDS, *TROUBLES}
    return Style(
        background="transparent",
        plot_background="transparent",
        foreground="var(--ink)",
        foreground_strong="var(--ink)",
        foreground_subtle="var(--line)",
        colors=tuple(
            f"var(--{name.replace(' ', '-')})" if name in known else "var(--ink)" for name in names
        ),
        guide_stroke_color="var(--line)",
        major_guide_stroke_color="var(--line)",
        guide_stroke_dasharray="none",
        major_guide_stroke_dasharray="none",
        opacity="1",
        opacity_hover=".7",
        font_family="inherit",
        label_font_size=13,
        major_label_font_size=13,
        legend_font_size=14,
        tooltip_font_size=13,
        no_data_font_size=16,
    )
