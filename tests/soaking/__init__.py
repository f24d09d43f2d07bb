"""The soak: capd as a service for minutes or hours, under traffic, while everything happens to it.

tests/soak --minutes 60 --seed 7
"""
