"""Ways to the submit host: this machine, or SSH."""
