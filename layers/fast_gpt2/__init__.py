"""The frozen GPT-2 on a CPU, by hand: equal to the plain path by tests, and faster."""
