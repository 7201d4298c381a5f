#!/bin/sh
# Install the gateway from this folder, without network and without root.
set -eu
umask 022
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/bundle"

usage() {
	cat <<END
usage: ./install.sh --prefix DIR [--python PROGRAM]

Install oic-gateway $VERSION from this bundle: no network, no root, no compiler.

  --prefix DIR      DIR/lib/oic-gateway-$VERSION gets the program, DIR/bin/oic-gateway is a link to it
  --python PROGRAM  CPython $PYTHON; default: python$PYTHON, else python3

Another version in DIR stays until you delete its folder. Exit statuses: 0 installed, 1 not installed, 2 wrong usage.
END
}

fail() {
	echo "install.sh: $1" >&2
	exit "${2:-1}"
}

prefix='' python=''
while [ $# -gt 0 ]; do
	case $1 in
	--help | -h) usage && exit 0 ;;
	--prefix=* | --python=*) option=${1%%=*} value=${1#*=} && shift ;;
	--prefix | --python)
		[ $# -gt 1 ] || fail "$1 needs a value; see ./install.sh --help" 2
		option=$1 value=$2 && shift 2
		;;
	*) fail "unknown argument $1; see ./install.sh --help" 2 ;;
	esac
	if [ "$option" = --prefix ]; then prefix=$value; else python=$value; fi
done
[ -n "$prefix" ] || fail '--prefix DIR is missing; see ./install.sh --help' 2
case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
case $python in /*) ;; */*) python=$PWD/$python ;; esac

if [ -z "$python" ]; then
	python=$(command -v "python$PYTHON" || command -v python3) ||
		fail "cannot find python$PYTHON or python3. Install CPython $PYTHON, or name it with --python"
fi
found=$("$python" -I -c 'import platform, sys
print(platform.python_implementation(), "%d.%d" % sys.version_info[:2], platform.system(), platform.machine())') ||
	fail "cannot run $python. Name a CPython $PYTHON with --python"
[ "$found" = "CPython $PYTHON Linux $MACHINE" ] ||
	fail "cannot use $python: it is $found, this bundle is for CPython $PYTHON Linux $MACHINE. Name another Python with
--python, or take the bundle for this one: \`make bundle\` builds it on a machine with the same Python."
"$python" -I -c 'import os, sys
try:
    name, version = os.confstr("CS_GNU_LIBC_VERSION").split()
except (ValueError, OSError, AttributeError):
    name, version = "another C library", ""
def parts(text):
    return [int(part) for part in text.split(".")]
if name != "glibc" or parts(version) < parts(sys.argv[1]):
    sys.exit("install.sh: cannot install: this bundle needs glibc %s or newer, this system has %s %s. Use a newer system "
             "or the container image." % (sys.argv[1], name, version))' "$GLIBC"
"$python" -I -c 'import venv' 2>/dev/null ||
	fail "cannot make a virtual environment: $python has no module venv. Install the package python3-venv"

echo 'checking the hashes ...'
cd "$here"
sha256sum --check --strict --quiet SHA256SUMS >&2 ||
	fail 'cannot install: files of the bundle are damaged or missing (above). Unpack or transfer the bundle again.'

mkdir -p "$prefix/bin" "$prefix/lib" || fail "cannot write to $prefix. Choose another --prefix."
prefix=$(CDPATH='' cd -- "$prefix" && pwd)
target=$prefix/lib/oic-gateway-$VERSION
if [ ! -e "$target/.complete" ]; then
	rm -rf "$target"
	trap 'rm -rf "$target"' EXIT
	trap 'exit 1' HUP INT TERM
	echo "installing in $target ..."
	"$python" -I -m venv --without-pip "$target"
	for lock in requirements*.lock; do set -- "$@" --requirement "$lock"; done
	# Python runs pip from its wheel. No configuration of pip on this machine may name an index or other rules.
	program=$(echo wheels/pip-*.whl)/pip
	pip() {
		PIP_CONFIG_FILE=/dev/null "$target/bin/python" -I "$program" --isolated --quiet --no-cache-dir \
			--disable-pip-version-check install --no-index "$@"
	}
	pip --require-hashes --only-binary :all: --find-links wheels "$@"
	pip --no-deps wheels/oic_gateway-*.whl
	"$target/bin/oic-gateway" --version >/dev/null
	touch "$target/.complete"
	trap - EXIT HUP INT TERM
fi
# A rename: at each moment the link leads to a complete version.
ln -sfn "../lib/oic-gateway-$VERSION/bin/oic-gateway" "$prefix/bin/.oic-gateway.$$"
mv -fT "$prefix/bin/.oic-gateway.$$" "$prefix/bin/oic-gateway"
echo "installed: $prefix/bin/oic-gateway ($("$prefix/bin/oic-gateway" --version))"
