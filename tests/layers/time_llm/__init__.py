"""Tests of Time-LLM's parts."""
