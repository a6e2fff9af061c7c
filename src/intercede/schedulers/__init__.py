"""The command languages of the batch systems: pure, text out and text in."""
