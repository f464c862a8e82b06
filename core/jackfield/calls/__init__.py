"""One call, top to bottom: dispatch, the generated pipeline, outcomes."""
