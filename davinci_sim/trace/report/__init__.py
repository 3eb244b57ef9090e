"""A launch as one self-contained page of HTML: timeline, ledger, roofline, source lines."""

from davinci_sim.trace.report.page import Ceiling, Page, Point, Roof, Roofs, write_report

__all__ = ["Ceiling", "Page", "Point", "Roof", "Roofs", "write_report"]
