"""Speed and memory benchmarks; ratios are measured within one run on the same work."""
