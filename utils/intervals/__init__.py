"""Prediction intervals: conformal, adaptive, and from quantiles."""
