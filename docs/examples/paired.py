"""Is one method better than another on the same text? Paired differences of their losses, window by window.

    python docs/examples/paired.py [RESULTS] [LABEL LABEL]

Without labels: the two quantized cells of each model with the lowest perplexity. Windows are hard or easy for
both, so that their difference is known far better than either loss. Neighbouring windows correlate a little;
so runs of neighbours are drawn, round the end to the beginning (circular block bootstrap).
"""

# %%
import sys
from pathlib import Path

import numpy as np

import qbench

RESULTS = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "results/examples"
LABELS = sys.argv[2:4]
GROUP = ["suite", "model", "dtype", "device", "runtime"]
DRAWS = 10_000

# %% Losses by window: one row a window, one column a label.
samples = qbench.samples(RESULTS)
nll = samples[(samples["quantity"] == "nll") & (samples["repetition"] == 0)]


# %%
def bootstrap(gaps, tokens):
    """Ends of the 95 % interval of Σ gaps / Σ tokens."""
    windows = len(gaps)
    length = max(1, round(windows**0.39))
    runs = -(-windows // length)
    starts = np.random.default_rng(0).integers(windows, size=(DRAWS, runs))
    drawn = ((starts[:, :, None] + np.arange(length)) % windows).reshape(DRAWS, -1)[:, :windows]
    return np.quantile(gaps[drawn].sum(axis=1) / tokens[drawn].sum(axis=1), [0.025, 0.975])


# %%
for group, members in nll.groupby(GROUP, observed=True):
    losses = members.pivot_table(index="index", columns="label", values="value", observed=True)
    losses = losses.dropna(axis="columns")
    tokens = members.groupby("index")["tokens"].first().to_numpy(dtype=float)
    quantized = sorted(
        set(members.loc[members["method"] != "none", "label"]) & set(losses.columns),
        key=lambda label: losses[label].sum(),
    )
    first, second = LABELS or quantized[:2] if len(quantized) > 1 else (None, None)
    print(f"\n{' · '.join(group)}")
    if first is None or not {first, second} <= set(losses.columns):
        print("  fewer than two of these cells were scored")
        continue
    gaps = (losses[second] - losses[first]).to_numpy()
    low, high = np.exp(bootstrap(gaps, tokens))
    ratio = np.exp(gaps.sum() / tokens.sum())
    verdict = "cannot be told apart" if low <= 1 <= high else "differ"
    print(f"  {second} over {first}: {ratio:.6f} × perplexity, 95 % {low:.6f} to {high:.6f}")
    print(f"  {int((gaps > 0).sum())} of {len(gaps)} windows are worse; they {verdict}")
