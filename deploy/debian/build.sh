#!/bin/sh
# Build the Debian package from an offline bundle for the same Debian: build.sh BUNDLE.tar.gz FOLDER
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source" "$work/source/bundle"
tar --extract --gzip --file "$1" --strip-components 1 --directory "$work/source/bundle"
cp -r "$here" "$work/source/debian"
rm "$work/source/debian/build.sh"
. "$work/source/bundle/bundle"
date=$(date --utc --rfc-email --reference "$work/source/bundle/bundle")
cat >"$work/source/debian/changelog" <<END
oic-gateway ($VERSION) unstable; urgency=medium

  * Version $VERSION.

 -- oic-gateway maintainers <maintainers@oic-gateway.invalid>  $date
END
cd "$work/source"
dpkg-buildpackage --build=binary --no-sign >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
cd - >/dev/null
mkdir -p "$2"
cp "$work"/oic-gateway_*.deb "$2"
ls "$2"/oic-gateway_"$VERSION"_*.deb
