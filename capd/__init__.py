"""capd records every packet on chosen Linux interfaces and gives any slice back."""

__version__ = "0.1.0"
