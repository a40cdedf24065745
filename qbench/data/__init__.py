"""The embedded model, its texts, its task, and the recipes that made them."""
