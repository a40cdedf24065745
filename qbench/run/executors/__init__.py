"""The seam between what is to be measured and where workers run: executors, the driver of their events, and
the scheduler of a suite's cells."""
