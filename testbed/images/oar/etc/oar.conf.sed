# Changes to /etc/oar/oar.conf, which is long, and differs between the versions
s/^SERVER_HOSTNAME=.*/SERVER_HOSTNAME="127.0.0.1"/
s/^DB_BASE_PASSWD=.*/DB_BASE_PASSWD="oar"/
s/^DB_BASE_PASSWD_RO=.*/DB_BASE_PASSWD_RO="oar_ro"/
# without this property OAR uses no cpusets, which would want cgroups (v1) to write to
s/^JOB_RESOURCE_MANAGER_PROPERTY_DB_FIELD=/#&/
# no pinging of nodes: there is one, and it is here
s/^FINAUD_FREQUENCY=.*/FINAUD_FREQUENCY="0"/
# nor before each job, which would cost more than the job
s/^PINGCHECKER_SENTINELLE_SCRIPT_COMMAND=.*/PINGCHECKER_GENERIC_COMMAND="\/bin\/true"/
# 25 by default, each of them several processes of Perl and ssh
s/^#\?MAX_CONCURRENT_JOBS_STARTING_OR_TERMINATING=.*/MAX_CONCURRENT_JOBS_STARTING_OR_TERMINATING=8/
# a scheduling round a second, if there is cause
s/^#\?SCHEDULER_MIN_TIME_BETWEEN_2_CALLS=.*/SCHEDULER_MIN_TIME_BETWEEN_2_CALLS=1/
# 30 by default: a user's further jobs would wait for no visible reason
s/^SCHEDULER_FAIRSHARING_MAX_JOB_PER_USER=.*/SCHEDULER_FAIRSHARING_MAX_JOB_PER_USER=1000/
s/^LOG_LEVEL=.*/LOG_LEVEL="2"/
