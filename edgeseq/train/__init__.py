"""Pruning and recovery of imported models, and helpers for training loops in PyTorch."""
