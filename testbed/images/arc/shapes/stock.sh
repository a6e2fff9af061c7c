# shellcheck shell=bash
# shellcheck disable=SC2034  # DAEMONS is read by common.sh
# A-REX at its own pace: an ended job is noticed after up to 20 s, and action=status is up to a minute old.
DAEMONS=(arex arex-ws)
