"""Draws medians as bars: chart.py FILE.png, with `{row: {contestant: jobs a second}}` on stdin."""

import json
import sys

import matplotlib.pyplot as plt

rows = json.load(sys.stdin)
figure, axes = plt.subplots(1, len(rows), figsize=(11, 3.6), layout="constrained")
for axis, (title, rates) in zip(axes, rows.items(), strict=True):
    names = sorted(rates, key=rates.get)
    ours = ["#1f6f5c" if name.startswith("gearmanny") else "#b9b5ab" for name in names]
    bars = axis.barh(names, [rates[name] for name in names], color=ours)
    axis.bar_label(bars, [f"{rates[name]:,.0f}" for name in names], padding=4, fontsize=9)
    axis.set_title(title, loc="left", fontsize=10)
    axis.set_xticks([])
    axis.margins(x=0.15)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.tick_params(left=False)
figure.suptitle("jobs a second, one worker process", x=0.01, ha="left", fontsize=9, color="#666")
figure.savefig(sys.argv[1], dpi=130)
