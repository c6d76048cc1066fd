"""Measurements of edda beside other durable-execution libraries; run with ``make bench``."""
