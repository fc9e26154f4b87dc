"""A GPU that is not there, to find on a CPU what a GPU would refuse or wait for (docs/gpu.md)."""
