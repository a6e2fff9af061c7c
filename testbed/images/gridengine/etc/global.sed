# Changes to the global configuration (qconf -mconf), so that tests need not wait
# load_report_time: how often execd speaks to qmaster, also about jobs that ended; 40 s by default
s/^load_report_time.*/load_report_time 00:00:01/
s/^reporting_params.*/reporting_params accounting=true reporting=false flush_time=00:00:00 accounting_flush_time=00:00:00 joblog=false sharelog=00:00:00/
# the line above replaces a folded one: drop its continuation
/^ *flush_time=\|^ *sharelog=\|^ *accounting_flush_time=/d
