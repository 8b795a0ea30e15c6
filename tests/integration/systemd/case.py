"""The units of `systemd/` under a real systemd, with the site of `tests.servers.daemon` and a real RabbitMQ."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.servers.child import private_folder
from tests.servers.daemon import django_site
from tests.servers.ports import free_ports
from tests.servers.rabbitmq import shared_rabbitmq
from tests.servers.systemd import Systemd, unavailable

ROOT = Path(__file__).parents[3]
ROOTS = ("broker", "daemon", "djangosite")
UNITS = ("livepush.socket", "livepush@.service", "livepush.target")
PYTHON, VENV, SOURCE, SITE = "/opt/python", "/opt/livepush", "/opt/source", "/opt/site"
WATCHDOG_SECONDS = 2
DRAIN_SECONDS = 4
BROKER = "/etc/livepush/broker-url"


def install(units: Path, venv: str, project: str, settings: str) -> subprocess.CompletedProcess[str]:
    """`make install-units`, into a folder."""
    return subprocess.run(
        [str(ROOT / "systemd" / "install.sh"), str(units), venv, project, settings],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class UnitsCase(SynchronousTestCase):
    """One systemd per test, the units installed in it as an operator would; nothing is started.

    A drop-in says what is other than in production: where the interpreter is, the port, and shorter times.
    """

    def setUp(self) -> None:
        if why := unavailable():
            raise SkipTest(why)
        vhost = shared_rabbitmq().fresh_vhost()
        self.addCleanup(vhost.delete)
        self.url = vhost.url()
        (self.port,) = free_ports(1)
        folder = private_folder("units")
        done = install(folder, VENV, SITE, "shop.settings")
        self.assertEqual(done.returncode, 0, done.stderr)
        site = django_site()
        for path in (site.folder, *site.folder.rglob("*")):
            path.chmod(path.stat().st_mode | 0o055)  # for the user that systemd makes up
        library = Path(sysconfig.get_path("purelib"))
        inside = f"{VENV}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
        self.systemd = Systemd({PYTHON: Path(sys.base_prefix), SOURCE: ROOT, SITE: site.folder, inside: library})
        self.addCleanup(self.systemd.close)
        python = f"{PYTHON}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
        self.systemd.write(f"{VENV}/pyvenv.cfg", f"home = {PYTHON}/bin\n")
        self.systemd.run("mkdir", "-p", f"{VENV}/bin")
        self.systemd.run("ln", "-s", python, f"{VENV}/bin/python")
        self.systemd.write(
            f"{VENV}/bin/twistd", f"#!{VENV}/bin/python\nfrom twisted.scripts.twistd import run\nrun()\n", "755"
        )
        for unit in UNITS:
            self.systemd.write(f"/etc/systemd/system/{unit}", (folder / unit).read_text())
        paths = ":".join(f"{SOURCE}/{root}" for root in ROOTS)
        self.drop_in(
            "livepush@.service",
            f"[Service]\nEnvironment=PYTHONPATH={paths} LD_LIBRARY_PATH={PYTHON}/lib\nWatchdogSec={WATCHDOG_SECONDS}\n",
        )
        self.drop_in("livepush.socket", f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{self.port}\n")
        self.set_broker(self.url)
        self.systemd.run("systemctl", "daemon-reload")

    def drop_in(self, unit: str, text: str, name: str = "test") -> None:
        """A drop-in of a unit."""
        self.systemd.write(f"/etc/systemd/system/{unit}.d/{name}.conf", text)

    def set_broker(self, url: str) -> None:
        """The credential."""
        self.systemd.write(BROKER, url + "\n", "600")

    def start(self, *numbers: int) -> None:
        """The socket, then processes; returns when they are ready."""
        self.systemd.run("systemctl", "start", "livepush.socket")
        self.systemd.run("systemctl", "start", *(f"livepush@{number}.service" for number in numbers))

    def pid(self, number: int = 1) -> int:
        """Of a process, as systemd sees it; 0: there is none."""
        return int(self.systemd.show(f"livepush@{number}.service", "MainPID"))
