"""From a suite to cells: devices, runtimes, hashes, reasons to skip."""
