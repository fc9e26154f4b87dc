"""What the benchmarks measure with: time, memory, multiply-adds, short trainings, the machine."""
