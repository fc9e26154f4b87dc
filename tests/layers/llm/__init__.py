"""Tests of layers/llm."""
