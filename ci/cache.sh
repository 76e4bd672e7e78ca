#!/usr/bin/env bash
# The build's cache as one file, which a CI's own cache can keep: layers have owners, devices and
# attributes that only root and tar keep. PACKED names the file.
#
# Usage: ci/cache.sh pack|unpack
set -euo pipefail
packed=$(realpath -m "${PACKED:-cache.tar.zst}")
cd "$(dirname "$0")/.."
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
what=(--numeric-owner --xattrs --xattrs-include='*' --acls --use-compress-program='zstd -T0')
case ${1:-} in
  pack)
    if [ ! -d cache ]; then exit 0; fi
    "${as_root[@]}" tar --create --file "$packed.new" "${what[@]}" --exclude=cache/logs --exclude=cache/tmp cache
    "${as_root[@]}" chmod 644 "$packed.new"
    mv "$packed.new" "$packed"
    echo "Packed: $(du -h "$packed" | cut -f1)"
    ;;
  unpack)
    if [ ! -e "$packed" ]; then
      echo 'No packed cache: this build makes all layers'
      exit 0
    fi
    "${as_root[@]}" tar --extract --file "$packed" "${what[@]}"
    ;;
  *)
    echo 'usage: ci/cache.sh pack|unpack' >&2
    exit 2
    ;;
esac
