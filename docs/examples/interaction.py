"""Does the better method depend on the number of bits? Losses by method and bits, and what is left of them
when neither the method alone nor the bits alone explain it.

    python docs/examples/interaction.py [RESULTS]

The loss is log(perplexity ratio); of several cells of a method with equal bits the best counts. In a table of
additive effects, loss = mean + method + bits, and the interaction is what that misses: where it is negative,
a method does better at these bits than its other rows and columns promise.
"""

# %%
import itertools
import json
import sys
from pathlib import Path

import numpy as np

import qbench

RESULTS = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "results/examples"
GROUP = ["suite", "model", "dtype", "device", "runtime"]

# %% Bits as the method was told; cells without (fp8, none) have no place in this table.
frame = qbench.load(RESULTS)
frame["bits"] = [json.loads(params).get("num_bits") for params in frame["params"]]
frame["loss"] = np.log(frame["perplexity_ratio"])
cells = frame[frame["bits"].notna() & frame["loss"].notna()].astype({"bits": int, "method": str})


# %% Only a full table separates the effects: the largest one, over all choices of bits.
def full_table(table):
    some = (table[list(bits)].dropna() for k in range(2, table.shape[1] + 1)
            for bits in itertools.combinations(table.columns, k))  # fmt: skip
    return max(some, key=lambda one: one.size if len(one) > 1 else 0, default=table.iloc[:0])


# %% What is left of each loss when method and bits have explained their part.
for group, members in cells.groupby(GROUP, observed=True):
    table = members.pivot_table(index="method", columns="bits", values="loss", aggfunc="min")
    table = full_table(table)
    print(f"\n{' · '.join(group)}")
    if min(table.shape) < 2:
        print("  too few methods share two numbers of bits")
        continue
    by_method = table.mean(axis=1)
    by_bits = table.mean(axis=0)
    interaction = table.sub(by_method, axis=0).sub(by_bits, axis=1) + table.to_numpy().mean()
    for method in table.index:
        for bits in table.columns:
            loss, beyond = table.at[method, bits], interaction.at[method, bits]
            print(f"  {method} {bits} bits: loss {loss:.8f}, interaction {beyond:+.8f}")
    best = table.idxmin()
    print("  best: " + ", ".join(f"{method} at {bits} bits" for bits, method in best.items()))
