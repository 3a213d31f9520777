#!/bin/sh
# copy-models FOLDER: copies this image's models into FOLDER and verifies the result: the same files as the
# exporter wrote, no others, each with the SHA-256 of the manifest. Fails otherwise.
# FOLDER is emptied first, because a restarted init container finds the files of its last try.
set -eu
umask 022

models=${MODELS_ROOT:-}/models
manifest=${MODELS_ROOT:-}/models.sha256

fail() {
    printf 'copy-models: %s\n' "$*" >&2
    exit 1
}

[ $# -eq 1 ] || fail "usage: copy-models FOLDER"
target=$1
[ -d "$target" ] || fail "$target is no folder"
target=$(cd "$target" && pwd -P)
[ "$target" != / ] || fail "the root folder would be emptied"
[ -s "$manifest" ] || fail "$manifest is missing or empty"

find "$target" -mindepth 1 -maxdepth 1 -exec rm -rf {} + || fail "cannot empty $target"
cp -R "$models/." "$target/" || fail "cannot copy to $target"

expected=$(sed 's/^[0-9a-f]* [ *]//' "$manifest" | sort)
found=$(cd "$target" && find . -type f | sort)
[ "$expected" = "$found" ] || fail "the files in $target are not those of the manifest:
$found"

report=$(cd "$target" && sha256sum -c "$manifest" 2>&1) || {
    printf '%s\n' "$report" | grep -v ': OK$' >&2
    fail "$target is corrupt"
}

count=$(printf '%s\n' "$expected" | grep -c .)
printf 'copy-models: %s files in %s, all checksums match\n' "$count" "$target"
