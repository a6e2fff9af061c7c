# TOMBSTONE: all submissions; tombstones older than TOMBSTONE days go, and unpacked remains of over a day.
enter
find .gone -maxdepth 1 -mindepth 1 -mtime "+$1" -exec rm -rf {} + 2>/dev/null
find .new -maxdepth 1 -mindepth 1 -mtime +1 -exec rm -rf {} + 2>/dev/null
for home in [A-Za-z0-9]* .gone/[A-Za-z0-9]*; do
  if present "$home" && [ -f "$home/meta" ] && { [ "$home" = "${home#.gone/}" ] || [ ! -d "${home#.gone/}" ]; }; then describe "$home"; fi
done
say end
