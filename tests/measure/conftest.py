"""The embedded model, loaded."""

from tests.probes.conftest import austen, tokenizer

__all__ = ["austen", "tokenizer"]
