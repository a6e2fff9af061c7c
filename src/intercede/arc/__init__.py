"""What it takes to talk to an ARC CE: its documents, its delegation (both pure), and its REST interface."""
