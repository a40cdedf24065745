"""Sections of a suite that belong to no probe: the calibration text, and which layers are quantized."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field

from qbench.fields import Corpus, Count, Name, Seed, Spec
from qbench.models.corpora import located
from qbench.section import Section, SuiteFile


class CalibrationSpec(Section):
    """The text that calibrated methods see; it must not overlap the evaluation text."""

    key: ClassVar[str] = "calibration"

    corpus: Corpus = Field("builtin:calibration", description="builtin:NAME, a text file, or a hub dataset")
    samples: Count = Field(128, description="Number of windows")
    seqlen: Count = Field(512, description="Tokens in a window")
    seed: Seed = Field(0, description="Which windows are drawn")

    def resolved(self, suite: SuiteFile) -> CalibrationSettings:
        return CalibrationSettings(**{**dict(self), **located(suite, self.key, self.corpus)})


class CalibrationSettings(CalibrationSpec):
    """The section of a cell."""

    corpus_name: str = ""
    corpus_sha256: str = ""


class OverrideSpec(Spec):
    """Other parameters for the layers that match a pattern; every further key is a parameter."""

    model_config = ConfigDict(extra="allow")

    pattern: Name = Field(description="Layer name or pattern, such as *.down_proj; the last match wins")
    method: Name | None = Field(None, description="Another method for these layers; default: the same")


class LayersSpec(Spec):
    """Layers to quantize, by patterns on their dotted names."""

    include: list[Name] = Field(["*"], min_length=1, description="Layers to quantize")
    exclude: list[Name] = Field([], description="Layers to leave alone; a tied lm_head always is")
    overrides: list[OverrideSpec] = Field([], description="Other parameters for some layers")
