"""Verdicts on single numbers: findings, thresholds, exact comparison, stored baselines."""
