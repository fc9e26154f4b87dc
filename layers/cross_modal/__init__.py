"""CALF's two branches: how they meet, their features, the losses between them."""
