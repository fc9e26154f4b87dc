"""Tests of utils/verdict."""
