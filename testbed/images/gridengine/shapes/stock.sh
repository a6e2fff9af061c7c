# shellcheck shell=bash
# The pace of Grid Engine as it is installed: a finished job is in neither qstat nor the accounting for up to 15 s.
sed -i 's/flush_time=00:00:00/flush_time=00:00:15/g' /usr/local/lib/testbed/gridengine/global.sed
