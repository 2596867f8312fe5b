"""A run directory -> report.html, report.md, report.csv and junit.xml, from what the run left behind and nothing else."""

if __name__ == "reports":
    raise ImportError("import redteam.reports, not reports")

from redteam.reports.directory import RunDirectoryError
from redteam.reports.html import render_html
from redteam.reports.write import FORMATS, write_reports

__all__ = ["FORMATS", "RunDirectoryError", "render_html", "write_reports"]
