"""Evaluation of lm-eval's tasks in this process."""
