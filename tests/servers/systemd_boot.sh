#!/bin/bash
# systemd_boot.sh FOLDER [SOURCE:INSIDE ...]: make the root of a private systemd out of this machine's files, and become it.
# Runs as PID 1 of namespaces of its own; see systemd.py.
set -eu
state=$1; shift
mkdir -p "$state/t"
mount -t tmpfs -o size=1g,mode=755 livepush "$state/t"
mkdir -p "$state"/t/{upper,work,root,binds}
root=$state/t/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$state/t/upper,workdir=$state/t/work" "$root"
mount -t proc proc "$root/proc"
# Kernel-wide settings belong to the machine: systemd would write fs.file-max, systemd-sysctl fs.protected_*.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755,size=64m tmpfs "$root/run"
# Before /tmp is hidden: that is where tests keep what they bind.
number=0
for pair in "$@"; do
  number=$((number + 1)); mkdir "$state/t/binds/$number"; mount --bind "${pair%%:*}" "$state/t/binds/$number"
done
mount -t tmpfs -o mode=1777,size=256m tmpfs "$root/tmp"
mount -t tmpfs -o mode=755,size=4m devices "$root/dev"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -p "$root"/dev/{pts,shm}
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"; ln -s fd/1 "$root/dev/stdout"; ln -s fd/2 "$root/dev/stderr"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
number=0
for pair in "$@"; do
  number=$((number + 1)); mkdir -p "$root/${pair##*:}"; mount --bind "$state/t/binds/$number" "$root/${pair##*:}"
done
rm -f "$root/etc/machine-id"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
mkdir -p "$root/etc/systemd/system"
cat >"$root/etc/systemd/system/sandbox.target" <<'UNIT'
[Unit]
Description=what a test needs
Requires=sysinit.target dbus.socket systemd-journald.socket
After=sysinit.target
AllowIsolate=yes
UNIT
# Nothing of the machine's own services runs inside.
for unit in systemd-timesyncd.service systemd-udevd.service systemd-udev-trigger.service systemd-udevd-kernel.socket \
  systemd-udevd-control.socket systemd-networkd.service systemd-networkd.socket systemd-resolved.service \
  getty@tty1.service console-getty.service systemd-logind.service rabbitmq-server.service redis-server.service \
  postgresql.service nginx.service prometheus.service docker.service containerd.service systemd-binfmt.service \
  systemd-modules-load.service kmod-static-nodes.service systemd-hwdb-update.service systemd-pstore.service \
  systemd-random-seed.service systemd-remount-fs.service systemd-sysctl.service systemd-journald-audit.socket \
  sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount \
  proc-sys-fs-binfmt_misc.automount systemd-update-utmp.service systemd-firstboot.service; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
cd "$root"
exec 0</dev/null
mkdir -p mnt/old
pivot_root . mnt/old
umount -l /mnt/old
mount --make-rshared / # or LoadCredential= silently gives an empty folder
exec env -i container=livepush-tests PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd \
  --system --unit=sandbox.target --log-target=journal --log-level=info --show-status=no
