"""Control experiments in the place of BALM's text branch."""
