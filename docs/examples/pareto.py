"""Which method under a memory budget? The front of quality against bytes, and the best that fits.

    python docs/examples/pareto.py [RESULTS] [SHARE]

SHARE is the budget, as a part of the unquantized weights; 0.5 unless given.
"""

# %%
import sys
from pathlib import Path

import qbench

RESULTS = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "results/examples"
SHARE = float(sys.argv[2]) if len(sys.argv) > 2 else 0.5

# %% Cells that may be set against each other: same model, dtype, device, runtime, and windows of text.
GROUP = ["suite", "model", "dtype", "device", "runtime"]
frame = qbench.load(RESULTS)
cells = frame[frame["perplexity_ratio"].notna() & frame["weight_bytes_ratio"].notna()]


# %% A cell is on the front where no other is at least as small and as good, and better in one of the two.
def on_front(row, others):
    smaller = others["weight_bytes"] <= row["weight_bytes"]
    better = others["perplexity_ratio"] <= row["perplexity_ratio"]
    strictly = (others["weight_bytes"] < row["weight_bytes"]) | (
        others["perplexity_ratio"] < row["perplexity_ratio"]
    )
    return not (smaller & better & strictly).any()


# %% Within the budget: the least loss, and whoever's interval reaches into the best one's. Those are ties.
for group, members in cells.groupby(GROUP, observed=True):
    front = members[[on_front(row, members) for _, row in members.iterrows()]].sort_values("weight_bytes")
    print(f"\n{' · '.join(group)}")
    for _, row in front.iterrows():
        size, loss = row["weight_bytes_ratio"], row["perplexity_ratio"]
        print(f"  front: {row['label']}: {size:.4f} × bytes, {loss:.6f} × perplexity")
    fits = members[members["weight_bytes_ratio"] <= SHARE]
    if fits.empty:
        print(f"  nothing fits into {SHARE} × bytes")
        continue
    best = fits.loc[fits["perplexity_ratio"].idxmin()]
    ties = fits[
        (fits["perplexity_ratio_low"] <= best["perplexity_ratio_high"]) & (fits["cell_id"] != best["cell_id"])
    ]
    loss = best["perplexity_ratio"]
    print(f"  within {SHARE} × bytes: {best['label']}, {loss:.6f} × perplexity, {len(ties)} tied")
