"""The files of a submission on the submit host: their layout, and the shell programs that handle them."""
