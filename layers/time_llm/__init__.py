"""Parts of Time-LLM: its prompt, the reprogramming of patches, and the frozen language model that reads both."""
