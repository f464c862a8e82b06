"""What is seen of calls: spans, metrics and log records, and the logger that plugins get."""
