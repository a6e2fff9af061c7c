# Before the functions for OpenPBS. qsub(1B): PBS_ARRAYID is the index in an array.
PBS_ARRAY_INDEX=${PBS_ARRAYID:-0}
