"""The mathematics of rounding: GPTQ, HQQ, LLM.int8() and ranges."""
