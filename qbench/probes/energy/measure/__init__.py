"""Windows of work between steps of an energy counter: NVML and RAPL."""
