"""What users hold: stateful, asynchronous, one interface."""
