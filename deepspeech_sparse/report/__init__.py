"""Word error rate against sparsity as one page that needs no network, with its figures and tables as files beside it.

`points.py` says which runs belong together, `pairs.py` which differ, `words.py`, `tables.py`, `plots.py`, `layers.py`
and `training.py` say it in words, numbers and figures, `sensitivity*.py` what single settings change, and `page.py`
puts it on the page. Everything comes from the rows of a results table; no model is opened. `course.py` draws what is
only forecast.
"""

from .page import report, write_report

__all__ = ["report", "write_report"]
