"""Measurements, each figure printed as `name: value unit`. docs/performance.md explains them."""
