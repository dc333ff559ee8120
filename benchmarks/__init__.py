"""Comparative benchmarks: ``python -m benchmarks`` (or ``make bench``) prints a table of ratios.

Every competitor runs in a process of its own, in the same run, in random order; the server has one core and the client
the other. Ratios are the result; absolute times are context.
"""
