#!/usr/bin/env bash
# A folder of releases (ci/nightly.ts) as releases of a GitHub repository, by gh(1). Each release is the tag
# of its name, so that <repository>/releases/download is the folder's URL; the list for Raspberry Pi Imager
# is the asset os_list.json of the tag "imager".
#
# Usage: ci/github-releases.sh pull|push FOLDER
#   pull  brings what a night compares with: each release's release.json, the newest one's image
#   push  makes what is new, then moves the list, then deletes what the folder no longer has
set -euo pipefail
what=${1:?usage: ci/github-releases.sh pull|push FOLDER}
folder=${2:?usage: ci/github-releases.sh pull|push FOLDER}
list=imager

# Names of nights, newest first; other releases of the repository are not ours to touch.
there() {
  local tags
  tags=$(gh release list --limit 200 --json tagName --jq '.[].tagName')
  grep -E '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{6}Z$' <<< "$tags" | sort -r || true
}

pull() {
  mkdir -p "$folder"
  local id ids assets newest=''
  ids=$(there)
  for id in $ids; do
    assets=$(gh release view "$id" --json assets --jq '.assets[].name')
    # One that was not uploaded whole has no release.json, and is none.
    if ! grep -qx release.json <<< "$assets"; then continue; fi
    mkdir -p "$folder/$id"
    if [ -z "$newest" ]; then
      newest=$id
      gh release download "$id" --dir "$folder/$id" --clobber
    else
      gh release download "$id" --dir "$folder/$id" --pattern release.json --clobber
    fi
  done
}

push() {
  local id known path file files
  known=$(there)
  for path in "$folder"/[0-9]*Z; do
    id=${path##*/}
    if [ ! -e "$path/SHA256SUMS" ] || grep -qx "$id" <<< "$known"; then continue; fi
    files=()
    for file in "$path"/*; do
      [ "${file##*/}" = release.json ] || files+=("$file")
    done
    gh release create "$id" --title "$id" --notes-file "$path/CHANGELOG.md" "${files[@]}"
    # Last: it vouches for the others.
    gh release upload "$id" "$path/release.json"
  done
  if [ ! -e "$folder/os_list.json" ]; then return; fi
  if ! gh release view "$list" > /dev/null 2>&1; then
    gh release create "$list" --title 'Raspberry Pi Imager' --latest=false \
      --notes 'The list of images for rpi-imager --repo. It always names the newest and the retained ones.'
  fi
  gh release upload "$list" "$folder/os_list.json" --clobber
  for id in $known; do
    if [ ! -d "$folder/$id" ]; then gh release delete "$id" --yes --cleanup-tag; fi
  done
}

case $what in
  pull) pull ;;
  push) push ;;
  *)
    echo 'usage: ci/github-releases.sh pull|push FOLDER' >&2
    exit 2
    ;;
esac
