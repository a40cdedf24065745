"""The section `quality` of a suite, and of a cell: there with the hash of its text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from qbench.fields import Corpus, Count
from qbench.models.corpora import located
from qbench.section import Finding, Section, SuiteFile


class QualitySpec(Section):
    """Perplexity, and divergence from the unquantized model."""

    key: ClassVar[str] = "quality"

    corpus: Corpus = Field("builtin:persuasion", description="builtin:NAME, a text file, or a hub dataset")
    protocol: Literal["gptq", "lm-eval", "strided", "llama.cpp"] = Field(
        "gptq", description="How windows are cut and scored; part of every number"
    )
    seqlen: int = Field(512, ge=2, le=1_000_000, description="Tokens in a window")
    stride: int | None = Field(
        None,
        ge=2,
        le=1_000_000,
        description="Protocol strided: tokens from window to window; default: half a window",
    )
    max_windows: Count | None = Field(None, description="Use only so many windows; default: the whole text")
    divergence: bool = Field(
        True, description="KL divergence and top-1 agreement with the unquantized model on the same tokens"
    )

    def findings(self) -> Iterator[Finding]:
        if self.stride is not None and self.protocol != "strided":
            yield ("stride",), f"only protocol strided has one, and this is {self.protocol}; drop it"
        elif self.stride is not None and self.stride > self.seqlen:
            yield ("stride",), f"leaves tokens out: windows have {self.seqlen} tokens; give at most that"
        if self.protocol == "llama.cpp" and self.seqlen < 4:
            yield ("seqlen",), "has no second half to score; give at least 4"

    def resolved(self, suite: SuiteFile) -> QualitySettings:
        text = located(suite, self.key, self.corpus)
        stride = self.stride
        if self.protocol == "strided" and stride is None:
            stride = max(2, self.seqlen // 2)
        return QualitySettings(**{**dict(self), **text, "stride": stride})


class QualitySettings(QualitySpec):
    """The section of a cell."""

    divergence: bool = False
    """Off in cells from before there was divergence."""
    corpus_name: str = ""
    corpus_sha256: str = ""
