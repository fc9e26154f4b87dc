"""What the verdict is written as: docs/verdict's page with its pictures, and the README's answer and main table."""
