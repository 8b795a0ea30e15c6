#!/bin/sh
# install.sh UNITS VENV PROJECT SETTINGS: the units, with these paths in them, into the folder UNITS.
#   VENV      the virtual environment in which livepush and the site's own packages are
#   PROJECT   the folder that holds manage.py
#   SETTINGS  Django's settings module
# Drop-ins (`systemctl edit`) are left alone. Nothing is started; a systemd that runs here reads the units anew.
set -eu
here=$(dirname "$0")
units=$1 venv=$2 project=$3 settings=$4

fail() { echo "install-units: $1" >&2; exit 1; }
[ -n "$project" ] && [ -n "$settings" ] ||
	fail "name the site: make install-units PROJECT=/srv/shop SETTINGS=shop.settings VENV=/srv/shop/venv"
case $project in /*) ;; *) fail "PROJECT $project: must be an absolute path, of the folder that holds manage.py" ;; esac
case "$venv$project$settings" in *[!A-Za-z0-9_./+-]*) fail "VENV, PROJECT and SETTINGS may have letters, digits and _ . / + - only" ;; esac
mkdir -p "$units"
[ -w "$units" ] || fail "can't write to $units: run it as root, or name another folder with UNITS="

for unit in livepush.socket livepush@.service livepush.target; do
	sed -e "s,@VENV@,$venv,g" -e "s,@PROJECT@,$project,g" -e "s,@SETTINGS@,$settings,g" "$here/$unit" >"$units/$unit.new"
	mv "$units/$unit.new" "$units/$unit"
	echo "$units/$unit"
done
# twistd keeps a list of its plugins beside them; the processes may not write it, and would look for them at each start.
if [ -x "$venv/bin/python" ]; then
	"$venv/bin/python" -c 'from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))' ||
		fail "VENV $venv: Twisted is not installed there; install livepush into it first"
fi
if [ "$units" = /etc/systemd/system ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
