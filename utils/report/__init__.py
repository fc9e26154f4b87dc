"""Tables and pages made of run folders."""
