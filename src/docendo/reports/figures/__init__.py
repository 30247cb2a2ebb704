"""The figures of a report, one function each: from what was read to a Plotly figure."""
